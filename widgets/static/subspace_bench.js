// Built by npm run build from 11 files, sha256 05dbfb1f9e26b0a5fd3b022c08260bc59098a91d68ac17dda3daffa239c79a7c
const t=(t,e={},...n)=>{const s=document.createElement(t);for(const[t,n]of Object.entries(e)){if(n===null||n===
undefined||n===false)continue;if(t==="text")s.textContent=n;else if(t.startsWith("on"))s.addEventListener(t.slice(2),
n);else if(t==="value")s.value=n;else s.setAttribute(t,n===true?"":n)}s.append(...n.filter(t=>t!==null&&t!==
undefined));if(s.matches("input, select, textarea, button, summary, [tabindex]"))s.setAttribute(
"data-lm-suppress-shortcuts","true");return s};const e=(t,e)=>{if(t.textContent!==e)t.textContent=e};const n=(t,e,n)=>
{let s=0;const o=new ResizeObserver(()=>{const o=t.isConnected?e.clientWidth:0,a=Math.abs(o-s)>4;s=o;if(!o)return;if(
a)n();t.setAttribute("data-ready","true")});o.observe(e);return()=>o.disconnect()};const s=(e,n,s)=>{const o=URL.
createObjectURL(s instanceof Blob?s:new Blob([s],{type:n}));const a=t("a",{href:o,download:e});document.body.append(
a);a.click();a.remove();setTimeout(()=>URL.revokeObjectURL(o),1e4)};const o=async(t,e)=>{try{await navigator.
clipboard.writeText(t)}catch{e.focus();e.select();document.execCommand("copy")}};const a=(e,n)=>t("option",{value:e,
text:n});const r=(e,n,s)=>t("label",{class:"mn-field"},t("span",{class:"mn-label",text:e}),n,null);const i=(t,e)=>{t.
append(e);e.addEventListener("pointerdown",t=>{const e=t.button===0&&t.target.closest("button");if(!e||e.
disabled)return;const n=s=>{if(s.pointerId!==t.pointerId)return;document.removeEventListener("pointerup",n,true);
document.removeEventListener("pointercancel",n,true);const o=Math.hypot(s.clientX-t.clientX,s.clientY-t.clientY)<6;if(
s.type==="pointerup"&&o&&!e.contains(s.target)&&e.isConnected)e.click()};document.addEventListener("pointerup",n,
true);document.addEventListener("pointercancel",n,true)})};const l=e=>{if(!e||!/^[\w-]+$/.test(e))return()=>{};
const n=t("style",{text:`.jp-OutputArea-child:has(.mnemoscope-static-${e}), .mnemoscope-static-${e} { display: none `+
`!important; }`});document.head.append(n);return()=>n.remove()};const c=t=>{if(t==="")return"∅";return t.replace(/ /g,
"·").replace(/\r?\n/g,"⏎").replace(/\t/g,"⇥").replace(
/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,t=>`‹${t.codePointAt(0).toString(16).
padStart(4,"0")}›`)};const d=(t,e)=>[...t].length>e?[...t].slice(0,e-1).join("")+"…":t;const h=t=>t.map(t=>typeof t===
"string"?`"${t.replace(/"/g,'""')}"`:Number.isNaN(t)?"":String(t)).join(",")+"\r\n";const u=t=>t===null||t===
undefined||Number.isNaN(t);const m=(t,e)=>`${t.toLocaleString("en")} ${e}${t===1?"":"s"}`;const f=t=>{if(u(
t))return"–";const e=Math.abs(t);return(e&&(e<1e-4||e>=1e6)?t.toExponential(1):String(Number(t.toPrecision(3)))).
replace(/-/g,"−")};const p=t=>u(t)?"–":`${f(100*t)} %`;const g=(t,e,n=f)=>u(t)||u(e)?"":`${n(t)} to ${n(e)}`;const b=
t=>c(t).replace(/·/g," ");const w={text:"var(--mn-text)",muted:"var(--mn-muted)",line:"var(--mn-line)",accent:
"var(--mn-accent)",other:"var(--mn-other)",page:"var(--mn-bg)"};const x={text:"#1c1c1c",muted:"#555555",line:
"#d0d0d0",accent:"#0b61b8",other:"#b35900",page:"#ffffff"};const v=(t,e={},...n)=>{const s=document.createElementNS(
"http://www.w3.org/2000/svg",t);for(const[t,n]of Object.entries(e))if(!u(n))s.setAttribute(t,n);s.append(...n);
return s};const y=t=>({text:(new XMLSerializer).serializeToString(t),width:Number(t.getAttribute("width")),height:
Number(t.getAttribute("height"))});const $=(t,e,n)=>{const s=(e-t)/Math.max(1,n)||1,o=10**Math.floor(Math.log10(s)),a=
o*([1,2,5].find(t=>t*o>=s*.999)??10),r=[];for(let n=Math.ceil(t/a-1e-9);n*a<=e+1e-9*a;n++)r.push(Number((n*a).
toPrecision(12))||0);return r};const k=(t,{width:e,height:n,title:s,label:o,x:a,y:r,left:i=54})=>{const l=e-14,c=s?30:
14,d=n-38,h=(e,n)=>v("text",{style:`fill:${t.muted}`,"font-size":10.5,...e},n);const u=(t,e,n)=>{const s=t.map??(t=>
t),o=s(t.low),a=s(t.high);return t=>e+(s(t)-o)/(a-o||1)*(n-e)};const m=u(a,i,l),f=u(r,d,c);const p=v("svg",{xmlns:
"http://www.w3.org/2000/svg",viewBox:`0 0 ${e} ${n}`,width:e,height:n,role:"img","aria-label":o,"font-family":
"system-ui, DejaVu Sans, Arial, sans-serif","font-size":11});if(s)p.append(h({x:2,y:13,"font-size":12,"font-weight":
600,style:`fill:${t.text}`},s));for(const[e,n]of r.marks)p.append(v("line",{x1:i,x2:l,y1:f(e),y2:f(e),style:
`stroke:${t.line}`,"stroke-width":.7}),h({x:i-6,y:f(e)+3.5,"text-anchor":"end"},n));let g=-99;for(const[t,n]of a.
marks){const s=m(t),o=n.length*3+3;if(s-o<g)continue;g=s+o;p.append(h({x:Math.min(s,e-o-2),y:d+14,"text-anchor":
"middle"},n))}p.append(v("line",{x1:i,x2:l,y1:d,y2:d,style:`stroke:${t.muted}`}),h({x:(i+l)/2,y:n-5,"text-anchor":
"middle"},a.title),h({transform:`translate(11 ${(c+d)/2}) rotate(-90)`,"text-anchor":"middle"},r.title));return{root:
p,X:m,Y:f,left:i,right:l,top:c,bottom:d,words:h}};const M=(...e)=>t("thead",{},t("tr",{},...e.map(e=>t("th",{scope:
"col",text:e}))));const C=(e,n,s)=>t("div",{class:"mn-tablebox"},t("table",{class:"mn-table","data-testid":e},M(...n),
t("tbody",{},...s.map(([e,...n])=>t("tr",{},t("th",{scope:"row",text:e}),...n.map(e=>Array.isArray(e)?t("td",{},t(
"span",{text:e[0]}),e[1]?t("span",{class:"mn-why",text:e[1]}):null):t("td",{text:e})))))));const N=t=>[1,3,5].map(e=>
parseInt(t.slice(e,e+2),16));const S=([t,e,n])=>`rgb(${Math.round(t)},${Math.round(e)},${Math.round(n)})`;const A=([t,
e,n])=>(.2126*t+.7152*e+.0722*n)/255;const E=t=>{const[e,n,s]=t.map(t=>t<=10.3?t/3294.6:((t/255+.055)/1.055)**2.4);
const o=.2126*e+.7152*n+.0722*s;return 1.05/(o+.05)>(o+.05)/.05?"#ffffff":"#000000"};const L=t=>{const e=t.map(N),n=e.
length-1;return t=>{const s=Math.min(1,Math.max(0,t))*n,o=Math.min(n-1,Math.floor(s)),a=s-o;return e[o].map((t,n)=>t+
a*(e[o+1][n]-t))}};const _={light:{diverging:L(["#0a3a75","#2f7fc1","#a6cdec","#f9f9f7","#fbc98f","#dd7f1d",
"#853703"]),single:L(["#f9f9f7","#b9d8ee","#5a9fd4","#1f62a6","#08264f"]),missing:[214,214,214],ink:"#1c1c1c"},dark:{
diverging:L(["#a9d6ff","#4a9be0","#22507d","#202328","#7a4515","#dd8430","#ffd0a0"]),single:L(["#202328","#1d4a73",
"#2f7fc1","#7cbcf0","#e6f4ff"]),missing:[78,82,88],ink:"#f2f2f2"}};const j=e=>{const n=getComputedStyle(e.closest(
".mnemoscope")??e);const s=(t,e)=>n.getPropertyValue(t).trim()||e;const o=t("canvas",{width:1,height:1}).getContext(
"2d",{willReadFrequently:true});o.fillStyle="#ffffff";o.fillStyle=n.backgroundColor;o.fillRect(0,0,1,1);const a=[...o.
getImageData(0,0,1,1).data].slice(0,3),r=A(a)<.4;const i=r?_.dark:_.light;return{dark:r,...i,page:a,text:n.color,
muted:s("--mn-muted","#666"),accent:s("--mn-accent","#0b6bcb"),background:n.backgroundColor,font:s("--mn-font",
"system-ui, sans-serif"),mono:s("--mn-mono","monospace")}};const O=t=>{const e=new MutationObserver(()=>
requestAnimationFrame(t));for(const t of[document.documentElement,document.body])e.observe(t,{attributes:true,
attributeFilter:["class","style","data-jp-theme-name","data-jp-theme-light","data-vscode-theme-kind"]});const n=
matchMedia("(prefers-color-scheme: dark)");n.addEventListener("change",t);return()=>{e.disconnect();n.
removeEventListener("change",t)}};const T=(e,n=3)=>new Promise((s,o)=>{const a=new Image;a.onload=()=>{const o=t(
"canvas",{width:e.width*n,height:e.height*n});const r=o.getContext("2d");r.scale(n,n);r.drawImage(a,0,0);o.toBlob(s,
"image/png")};a.onerror=()=>o(new Error("the browser could not draw the figure"));a.src=
"data:image/svg+xml;charset=utf-8,"+encodeURIComponent(e.text)});const q=t=>{const e=t.reduce((t,e)=>t+e.width,0),n=
Math.max(...t.map(t=>t.height));let s=0;const o=t.map(t=>{const e=s;s+=t.width;return t.text.replace("<svg ",
`<svg x="${e}" `)}).join("");return{text:
`<svg xmlns="http://www.w3.org/2000/svg" width="${e}" height="${n}" viewBox="0 0 ${e} `+
`${n}"><rect width="100%" height="100%" fill="#ffffff"/>${o}</svg>`,width:e,height:n}};const P=(n,a,{stem:i,figure:l,
table:c,example:d})=>{const h=t("textarea",{class:"mn-code",readonly:true,rows:12,spellcheck:"false","aria-label":
"Python that reproduces this view","data-testid":"code"});const u=t("input",{type:"text","data-testid":"path",
placeholder:d,spellcheck:"false"});const m=t("div",{class:"mn-note","data-testid":"saved",role:"status"}),f=t("input",
{type:"checkbox","data-testid":"overwrite"});const p=()=>a("save",{path:u.value,overwrite:f.checked});u.onkeydown=t=>{
if(t.key==="Enter")p()};const g=(e,n,s,o="")=>t("button",{type:"button",class:`mn-button ${o}`,"data-testid":e,text:n,
onclick:s});const b=async t=>{const n=t.currentTarget;await o(h.value,h);e(n,"Copied");setTimeout(()=>e(n,"Copy"),
1500)};const w=t("div",{},t("div",{class:"mn-buttons"},g("svg","Figure (SVG)",()=>s(`${i()}.svg`,"image/svg+xml",l().
text)),g("png","Figure (PNG)",async()=>s(`${i()}.png`,"image/png",await T(l()))),g("csv","Data (CSV)",()=>s(`${i(
)}.csv`,"text/csv",c()))),t("div",{class:"mn-saverow"},r("Save the labelled data on the kernel’s machine as",u),g(
"save","Save",p),t("label",{class:"mn-check"},f,"replace what is there")),m);const x=t("details",{class:"mn-more",
"data-testid":"export"},t("summary",{text:"Export and code"}),w,t("div",{class:"mn-side-head"},t("span",{class:
"mn-label",text:"Python that reproduces this view"}),g("copy","Copy",b,"mn-small")),h);const v=()=>{const t=n.get(
"saved");e(m,t.text??"");m.classList.toggle("mn-bad",t.ok===false);h.value=n.get("code");h.rows=h.value.split("\n").
length+1};return{element:x,files:w,draw:v}};const z=t=>{if(!t)return new Float32Array(0);const e=
t instanceof ArrayBuffer?new DataView(t):t;const n=e.byteOffset%4?e.buffer.slice(e.byteOffset,e.byteOffset+e.
byteLength):e.buffer;return new Float32Array(n,e.byteOffset%4?0:e.byteOffset,Math.floor(e.byteLength/4))};const U=t=>
new Uint8Array(t.buffer??t,t.byteOffset??0,t.byteLength);const R=t=>{const e=[];return{undo:e,send:(e,n={})=>t.send({
type:e,...n}),listen:(n,s)=>{for(const o of n){t.on(`change:${o}`,s);e.push(()=>t.off(`change:${o}`,s))}},set:e=>{for(
const[n,s]of Object.entries(e))t.set(n,s);t.save_changes()}}};const F=(e,n,s)=>{const o={},r={range:true,number:true};
const i=(t,n)=>{const s=typeof e.get(t);return s==="boolean"?n.checked:s!=="number"?n.value:n.value===""?NaN:Number(n.
value)};const l=(t,e)=>{if(t.type==="checkbox")t.checked=e;else t.value=e};const c=(t,a)=>{o[t]=a;a.setAttribute(
"data-testid",t);let c,d,h=0;const u=()=>{clearTimeout(d);const n=h-Date.now();if(n>0){d=setTimeout(u,n);return}if(i(
t,a)!==e.get(t)){l(a,e.get(t));a.dispatchEvent(new Event("pulled"))}};u();n([t],u);const m=()=>{clearTimeout(c);
const n=i(t,a);if(!Number.isNaN(n)&&n!==e.get(t))s({[t]:n})};a.addEventListener("change",m);if(a.tagName!=="SELECT"&&
a.type!=="checkbox")a.addEventListener("input",()=>{clearTimeout(c);if(r[a.type]){h=Date.now()+700;m()}else c=
setTimeout(m,350)});a.flush=m;return a};return{inputs:o,bound:c,shown:()=>Object.fromEntries(Object.entries(o).map(([
t,e])=>[t,i(t,e)]).filter(([,t])=>!Number.isNaN(t))),flush:()=>{for(const t of Object.values(o))t.flush()},area:(e,n={
})=>c(e,t("textarea",{rows:2,spellcheck:"false",autocapitalize:"off",...n})),line:(e,n)=>c(e,t("input",{type:"text",
spellcheck:"false",autocomplete:"off",placeholder:n})),choose:(e,n)=>c(e,t("select",{},...n.map(([t,e])=>a(t,e))))}};
const W=t=>{if(!t?.items)return{tokens:[],items:[],made:()=>[]};const e=z(t.made),n=t.items.map(t=>t.gold.length),s=n.
reduce((t,e)=>t+e,0),o=s?e.length/s:0;const a=[];n.reduce((t,e,n)=>{a[n]=t;return t+e*o},0);return{...t,made:(t,s)=>[
...e.subarray(a[t]+s*n[t],a[t]+(s+1)*n[t])]}};const D=(e,n,s)=>{const o=(n,o)=>{const a=c(e.tokens[n]);if(!s||s[o]===
n)return t("span",{text:a});return t("mark",{title:`differs: in the data ${c(e.tokens[s[o]])}`},t("span",{class:
"mn-hidden",text:"differs: "}),a)};return t("span",{class:"mn-tokens"},...n.flatMap((e,n)=>[o(e,n),t("wbr")]))};
const B=(t,e)=>t.filter((t,n)=>t!==e[n]).length;const X=(e,n,s,o)=>{const a=e.items[n],r=(e,n,s)=>t("tr",{},t("th",{
scope:"row",text:e}),t("td",{},n),t("td",{class:"mn-why",text:s??""}));return t("div",{class:"mn-text","data-testid":
"text","data-what":a.what},t("div",{class:"mn-text-head"},t("strong",{text:b(a.name)}),t("span",{class:"mn-note",text:
` ${o}`})),t("table",{class:"mn-lines"},t("tbody",{},r("given",D(e,a.given)),r("in the data",D(e,a.gold)),...s.map(([
s,o])=>{const i=e.made(n,o),l=B(i,a.gold);return l?r(s,D(e,i,a.gold),`${l} of ${m(i.length,"token")} differ`):r(s,t(
"span",{class:"mn-note",text:"as in the data, word for word"}))}))))};const I=(t,e)=>t.strict===0?
`The unedited model recites none of the ${m(t.n,"sequence")}${e?` “${e}”`:""} `+`word for word${t.loose>0?
` (loosely: ${p(t.loose)})`:", nor loosely"}: what `+
`an edit takes away cannot be seen there. Choose text that it knows, a longer prefix or a shorter `+`suffix.`:"";
const V=()=>t("p",{class:"mn-note"},"Tokens that differ from the data: ",t("span",{class:"mn-tokens"},t("mark",{text:
"boxed and underlined"})),".");const Y=(e,{send:n,listen:s})=>{const o=t("select",{"data-testid":"examples",
"aria-label":"Example shown",onchange:()=>n("example",{number:Number(o.value)})});const r=t("label",{class:
"mn-examples"},t("span",{class:"mn-note",text:"Example"}),o);const i=()=>{const{names:t=[],own:n=false,chosen:s=null}=
e.get("examples");r.hidden=t.length+n<1||t.length===1&&!n&&s===0;o.replaceChildren(...s===null?[a("","choose one …")]:
[],...t.map((t,e)=>a(String(e),t)),...n?[a("-1","your last input")]:[]);o.value=s===null?"":String(s)};s(["examples"],
i);i();return r};const G=(n,s,{send:o,listen:a},{start:r,label:i,help:l,stop:c,unit:d})=>{const h=t("button",{class:
"mn-button mn-primary",type:"button","data-testid":"run",text:i,title:`${l} (Ctrl+Enter)`,onclick:r});const u=t(
"button",{class:"mn-button",type:"button","data-testid":"stop",text:"Stop",title:c,onclick:()=>o("stop")});const m=t(
"div",{class:"mn-progress-fill"}),f=t("span",{class:"mn-note","data-testid":"progress",role:"status"});const p=t(
"div",{class:"mn-progress",role:"progressbar","aria-label":d,"aria-valuemin":0,"aria-valuemax":100},m);const g=t(
"div",{class:"mn-error",role:"alert","data-testid":"error",hidden:true});const b=()=>{const o=n.get("status"),a=n.get(
"progress"),r=a.total?Math.round(100*a.done/a.total):0,i=n.get("error");u.disabled=o!=="running";s.setAttribute(
"data-status",o);p.hidden=o!=="running"&&o!=="stopping";m.style.width=`${r}%`;p.setAttribute("aria-valuenow",r);e(f,a.
text??"");g.hidden=!i.text;g.replaceChildren(...i.text?[t("strong",{text:i.title}),t("pre",{text:i.text})]:[])};a([
"status","progress","error"],b);b();const w=t("div",{class:"mn-run"},h,u,t("div",{class:"mn-status"},p,f));return{run:
h,row:w,error:g}};const J=(e,{title:s,testid:o,name:a,kind:r,data:c,start:d,label:h="Run",help:u,stop:m,unit:f})=>{
const p=R(e);const g=t("span",{class:"mn-chip","data-testid":"model",text:c??e.get("model_info").text});const b=t(
"div",{class:`mnemoscope ${r}`,"data-testid":o,"data-lm-suppress-shortcuts":"true",role:"region","aria-label":a});
const{run:w,row:x,error:v}=G(e,b,p,{start:d,label:h,help:u,stop:m,unit:f});b.addEventListener("keydown",t=>{if(t.
key!=="Enter"||!(t.ctrlKey||t.metaKey))return;t.preventDefault();t.stopPropagation();w.click()});const y=(o,{parts:a,
drawer:r,box:c,draw:d})=>{const h=t("header",{class:"mn-header"},t("h2",{text:s}),t("div",{class:"mn-about"},Y(e,p),
g));b.append(h,...a.filter(t=>t),r.element);i(o,b);const u=()=>{b.setAttribute("data-dark",j(b).dark);d()};p.listen([
"saved","code"],r.draw);p.undo.push(O(u),n(b,c,u),l(e.get("static_key")));r.draw();return()=>{for(const t of p.undo)t(
)}};return{...p,root:b,line:g,run:w,row:x,error:v,open:y}};const K={strict:"recited word for word",loose:
"recited loosely (75 % right)",lev:"edit distance, share of tokens",exact_prefix:"right tokens from the start",nll:
"loss of the suffix, nats/token"};const H={sparsity:{title:"share of weights set to 0",unit:"sparsity",taken:
"weights"},kept:{title:"curvature mass kept",unit:"mass kept",taken:"coefficients"}};const Q=(t,e,n,s,o=4)=>e===
"edit"?v("circle",{cx:n,cy:s,r:o,style:`fill:${t.accent};stroke:${t.page}`,"stroke-width":1}):v("rect",{x:n-o+.5,y:s-
o+.5,width:2*o-1,height:2*o-1,style:`fill:${t.page};stroke:${t.other}`,"stroke-width":1.6});const Z=(t,e)=>{const n=
.06*(e-t)||.05;return[t-n,e+n]};const tt=(t,e,n,s,o,a,r,i)=>{for(const l of["random","edit"]){const c=[n.unedited,
...n[l]].map((t,e)=>[t[s],e]),d=l==="edit"?"edit":"control",h=l==="edit"?t.accent:t.other;const m=c.map(([t,n])=>{
const[s,o,i]=r(t);return{x:e.X(a(t,n)),y:e.Y(s),low:o,high:i,value:s,i:n,row:t}}).filter(t=>Number.isFinite(t.x)&&
Number.isFinite(t.y)&&!u(t.value));if(!m.length)continue;e.root.append(v("path",{d:`M${m.map(t=>`${t.x.toFixed(
1)} ${t.y.toFixed(1)}`).join("L")}`,style:`fill:none;stroke:${h}`,"stroke-width":1.6,"stroke-dasharray":l==="edit"?
null:"5 4"}));for(const s of m){const a=s.i===o,r=v("g",{"data-point":s.i,"data-line":d,style:`stroke:${h}`},v(
"title",{},`${s.i?`${d==="edit"?n.method:n.control}, ${f(n.strengths[s.i-1])}`:"unedited"}`+`: ${f(s.value)} ${g(s.
low,s.high)}`));if(!u(s.low)&&!u(s.high))r.append(v("line",{x1:s.x,x2:s.x,y1:e.Y(s.low),y2:e.Y(s.high),"stroke-width":
1.2,opacity:a?1:.45}));const l=i?.(s.row);if(l&&!u(l[0]))r.append(v("line",{x1:e.X(l[0]),x2:e.X(l[1]),y1:s.y,y2:s.y,
"stroke-width":1.2,opacity:a?1:.45}));r.append(Q(t,d,s.x,s.y));if(a)r.append(v("circle",{cx:s.x,cy:s.y,r:8.5,style:
`fill:none;stroke:${t.text}`,"stroke-width":1.8,class:"mn-here"}));e.root.append(r)}}};const et=t=>Math.asinh(t/.1);
const nt=(t,e,n,s,o,a,r)=>{const i=[e.unedited,...e.edit,...e.random].map(t=>t[n]),l=i.flatMap(t=>[t.rise,t.rise_low,
t.rise_high]).filter(t=>!u(t)),c=Math.max(.02,...l),d=c>1;const h=Math.min(0,...l),p=d?[-1,-.1,0,.1,.3,1,3,10,30].
filter(t=>t<=c&&t>=h):$(h,c,a/110);const g=k(t,{width:a,height:r,title:"Recitation against what it costs",label:
`Trade-off: ${K[s]} against the rise of the clean loss; `+`${m(e.strengths.length,"point")} of ${e.
method}, beside ${e.control}.`,x:{low:h-.04*c,high:c*1.05,map:d?et:null,marks:p.map(t=>[t,f(t)]),title:a<360?
`rise, nats per token${d?" (compressed)":""}`:`rise of the clean loss, nats per token${d?" (compressed above 0.1)":
""}`},y:{low:-.04,high:1.04,marks:[0,.25,.5,.75,1].map(t=>[t,`${100*t} %`]),title:s==="strict"?
"recited word for word":"recited loosely"}});tt(t,g,e,n,o,t=>t.rise,t=>[t[s],t[`${s}_low`],t[`${s}_high`]],t=>[t.
rise_low,t.rise_high]);return g.root};const st=(t,e,n,s,o,a,{title:r,read:i,y:l})=>{const c=["none",...e.strengths.
map(f)],d=k(t,{width:o,height:a,title:r,label:`${r} by ${H[e.kind].title}: `+`${e.edit.map((t,s)=>`${f(e.strengths[
s])}: ${f(i(t[n])[0])}`).join(", ")}.`,x:{low:-.4,high:c.length-.6,marks:c.map((t,e)=>[e,t]),title:H[e.kind].title},y:
l});d.root.append(v("line",{x1:d.X(s),x2:d.X(s),y1:d.top,y2:d.bottom,style:`stroke:${t.muted}`,"stroke-width":1,
"stroke-dasharray":"2 3"}));tt(t,d,e,n,s,(t,e)=>e,i);return d.root};const ot=(t,e,n,s,o,a,r)=>st(t,e,n,o,a,r,{title:K[
s][0].toUpperCase()+K[s].slice(1),read:t=>[t[s],t[`${s}_low`],t[`${s}_high`]],y:{low:-.04,high:1.04,marks:[0,.5,1].
map(t=>[t,`${100*t} %`]),title:"share of sequences"}});const at=(t,e,n,s,o,a)=>{const r=[...e.edit,...e.random].
flatMap(t=>[t[n].rise,t[n].rise_low,t[n].rise_high]).filter(t=>!u(t)),[i,l]=Z(Math.min(0,...r),Math.max(.01,...r)),c=
l>1;return st(t,e,n,s,o,a,{title:"Clean loss over the unedited model",read:t=>[t.rise,t.rise_low,t.rise_high],y:{low:
i,high:l,map:c?et:null,marks:(c?[-1,0,.1,.3,1,3,10,30].filter(t=>t>=i&&t<=l):$(i,l,5)).map(t=>[t,f(t)]),title:
"rise, nats per token"}})};const rt=(t,e,n,s,o,a)=>{const{matrices:r,blocks:i,names:l}=e.grid,c=i.length,d=e.cellsAt(
n),h=Math.max(1e-9,...d.filter(t=>!u(t))),m=Math.max(40,...r.map(t=>t.length*6.4+10));const g=Math.max(7,Math.min(150,
(o-m-6)/c)),b=22,w=v("svg",{xmlns:"http://www.w3.org/2000/svg",width:Math.ceil(m+g*c+6),height:b*r.length+18,role:
"img","font-family":"system-ui, DejaVu Sans, Arial, sans-serif","font-size":10.5,viewBox:`0 0 ${Math.ceil(m+g*c+
6)} ${b*r.length+18}`,"aria-label":`Share of each layer’s ${H[e.kind].taken} taken, ${r.length} matrices by ${c} `+
`blocks, at most ${p(h)}.`});const x=Math.ceil(20/g),y=(e,n,s,o={})=>v("text",{x:e,y:n,style:`fill:${t.muted}`,...o},
s);r.forEach((e,n)=>{w.append(y(m-6,n*b+15,e,{"text-anchor":"end"}));i.forEach((e,o)=>{const r=d[n*c+o];if(!l[n][
o])return;const i=s.single(u(r)?0:r/h),x={x:m+o*g,y:n*b,width:g-1,height:b-1};w.append(v("rect",{...x,"data-cell":n*c+
o,style:`fill:${S(i)};stroke:${t.line}`,"stroke-width":.5},v("title",{},`${l[n][o]}: ${p(r)}`)));if(g>=34)w.append(y(
m+o*g+g/2,n*b+15,f(100*r),{"text-anchor":"middle","pointer-events":"none",style:`fill:${E(i)}`}));if(a===n*c+o)w.
append(v("rect",{...x,style:`fill:none;stroke:${t.text}`,"stroke-width":2.4}))})});i.forEach((t,e)=>{if(e%x===0)w.
append(y(m+(e+.5)*g,b*r.length+13,String(t),{"text-anchor":"middle"}))});return w};const it=t=>{if(
!t?.unedited)return null;const e=z(t.cells),n=t.grid.matrices.length*t.grid.blocks.length;return{...t,texts:W(t.
texts),cellsAt:t=>[...e.subarray((t-1)*n,t*n)]}};const lt=["strict","strict_low","strict_high","loose","loose_low",
"loose_high","lev","exact_prefix","nll","loss","rise","rise_low","rise_high","ndcg"];const ct=t=>[["unedited",NaN,0,t.
unedited],...["edit","random"].flatMap(e=>t[e].map((n,s)=>[e==="edit"?"edit":"control",t.strengths[s],t.shares[s],
n]))].flatMap(([e,n,s,o])=>t.sets.map(t=>({line:e,strength:n,share_taken:s,sequences:t,n:o[t].n,...Object.fromEntries(
lt.map(e=>[e,o[t][e]??NaN]))})));function dt({model:n,el:o}){const i=J(n,{title:"Subspace bench",testid:
"subspace-bench",name:"Subspace bench",kind:"mn-memory",label:"Compute curve",help:
"Compute the curve; points that are there are not computed again",stop:
"Stop after the point in progress; finished points stay, and the weights are restored",unit:"Points computed",start:(
)=>{_();l("run",{fields:z()})}});const{send:l,listen:c,root:$,row:k,error:M}=i;const N=n.get("model_info"),S=n.get(
"names");const A=t=>{for(const[e,s]of Object.entries(t))n.set(e,s);l("move",{fields:t});Tt()};const{bound:E,shown:L,
flush:_,choose:O,line:T}=F(n,c,A);const z=()=>{const t=L();t.at=n.get("at");return t};const R=t=>O(t,S[t].map(([t,
e])=>[t,d(b(e),60)]));const W=T("sparsities","0.005, 0.01, 0.02"),D=T("kept","0.9, 0.8, 0.7"),B=r(
"Points: share of weights set to 0",W),Y=r("Points: curvature mass kept",D);B.classList.add("mn-grow");Y.classList.
add("mn-grow");const G=t("div",{class:"mn-error",role:"alert","data-testid":"refused",hidden:true});const Z=t("div",{
},t("div",{class:"mn-controls"},r("Memorised text",R("memorised")),r("Reference text",R("reference")),r("Method",O(
"method",n.get("methods"))),r("Seed",E("seed",t("input",{type:"number",min:0,step:1})))),t("div",{class:
"mn-controls"},B,Y,k),G,M);const tt=()=>n.get("method")==="curvature"?"kept":"sparsity";const et=()=>{B.hidden=tt()!==
"sparsity";Y.hidden=tt()!=="kept";const e=n.get("doubts"),s=["memorised","reference","seed"].every(t=>e[t]===n.get(
t));G.hidden=!s||!e.refused;G.replaceChildren(...G.hidden?[]:[t("strong",{text:
"These sets overlap: nothing is run with them"}),t("pre",{text:e.refused})]);if(!G.hidden&&n.get("error").text===e.
refused)M.hidden=true};let st=null,lt=-1;const dt=t("div",{class:"mn-empty","data-testid":"empty"},t("strong",{text:
"No curve yet"}),t("p",{text:
"“Compute curve” finds the weights that hold the memorised text, takes more and more of them out, "+
"and measures at each point how much is still recited and what clean text loses, beside a random "+
"edit of equal size. The weights are restored after every point."}));const ht=t("span",{class:"mn-note","data-testid":
"what"}),ut=t("div",{class:"mn-warning","data-testid":"stale",hidden:true}),mt=t("div",{class:"mn-warning",
"data-testid":"notes",hidden:true});const ft=t("input",{type:"range",min:0,max:1,step:1,"data-testid":"at",
"aria-label":"Point of the curve"}),pt=t("output",{"data-testid":"here"}),gt=t("span",{class:"mn-label"});const bt=O(
"measure",[["strict","word for word"],["loose","loosely, 75 % right"]]),wt=t("select",{"data-testid":"set"}),xt=t(
"div",{class:"mn-key"});const vt=t("div",{class:"mn-chart","data-testid":"plane"}),yt=t("div",{class:"mn-chart",
"data-testid":"recited"}),$t=t("div",{class:"mn-chart","data-testid":"loss"}),kt=t("div",{"data-testid":"numbers"});
const Mt=t("div",{class:"mn-chart",tabindex:"0",role:"group","data-testid":"layers","aria-label":
"Layer map; arrow keys read its cells"}),Ct=t("div",{class:"mn-note","data-testid":"cell",role:"status"}),Nt=t("h3",{
});const St=t("p",{class:"mn-note","data-testid":"unchanged"});const At=t("div",{class:"mn-moves"},t("div",{class:
"mn-field mn-slide"},t("span",{},gt,pt),ft),r("Recitation",bt),r("of the sequences",wt));const Et=t("div",{},mt,At,xt,
t("div",{class:"mn-two"},vt,t("div",{},yt,$t)),kt,St);const Lt=t("section",{class:"mn-section","data-testid":"curve",
"aria-label":"Trade-off curve"},t("div",{class:"mn-side-head"},t("h3",{text:
"How much is recited, and what that costs"}),ht),ut,dt,Et);const _t=()=>st?Math.max(0,Math.min(n.get("at"),st.
strengths.length)):0;const jt=t=>{const e=Math.max(0,Math.min(t,st.strengths.length));n.set("at",e);l("move",{fields:{
at:e}});It()};ft.oninput=()=>{if(st)jt(Number(ft.value))};for(const t of[vt,yt,$t])t.addEventListener("click",t=>{
const e=t.target.closest("[data-point]");if(e&&st)jt(Number(e.dataset.point))});wt.onchange=()=>It();const Ot=()=>st?
Object.entries(st.fields).filter(([t,e])=>String(n.get(t))!==String(e)).map(([t])=>t):[];const Tt=()=>{const t=Ot(),s=
["running","stopping"].includes(n.get("status"));ut.hidden=!t.length||s;e(ut,ut.hidden?"":
`The fields have changed (${t.join(", ")}). What stands here is of ${st.what}; press `+
`“Compute curve” for the new question.`)};const qt=t("div",{"data-testid":"texts"}),Pt=t("span",{class:"mn-note"});
const zt=t("p",{"data-testid":"force",role:"status"}),Ut=t("button",{type:"button",class:"mn-button","data-testid":
"put",onclick:()=>l("put",{fields:{at:_t()}})}),Rt=t("button",{type:"button",class:"mn-button","data-testid":"undo",
onclick:()=>l("undo")});const Ft=t("div",{class:"mn-weights","data-testid":"weights"},Ut,Rt,zt),Wt=t("div",{},t(
"section",{class:"mn-section","aria-label":"Weights"},t("div",{class:"mn-side-head"},t("h3",{text:"Weights"})),Ft),t(
"section",{class:"mn-section","aria-label":"Layer map"},t("div",{class:"mn-side-head"},Nt),Mt,Ct),t("section",{class:
"mn-section","aria-label":"Texts before and after"},t("div",{class:"mn-side-head"},t("h3",{text:
"Texts before and after"}),Pt),V(),qt));const Dt=t=>t?t.slice(0,12):"…";const Bt=()=>{const s=n.get("force"),o=_t(),a=
["running","stopping"].includes(n.get("status")),r=o?`${H[st.kind].unit} ${f(st.strengths[o-1])}`:"";Ft.setAttribute(
"data-state",s.state);Ut.disabled=a||!o||!!s.doing;e(Ut,o?`Put ${r} in force`:"Put an edit in force");Rt.disabled=s.
state!=="in force";e(Rt,s.state==="in force"?"Undo: weights back, bit-equal":s.state==="undone"&&s.same?
"Undone: weights bit-equal":"Undo");const i=s.state==="in force"?`In force: ${s.what}. Weight hash ${Dt(s.
before)} → ${Dt(s.now)}; whatever the notebook asks `+`this model now is answered by the edited one.`:s.state===
"undone"?`Undone (${s.what}): weight hash ${Dt(s.now)}, `+`${s.same?`unchanged from ${Dt(s.before)} before the edit`:
`NOT the ${Dt(s.before)} from before`}`+`.`:s.state==="error"?"":
"The model has its own weights. The curve undoes its edits itself; here one can be left in "+
"force, to try the edited model in the notebook.";zt.replaceChildren(s.doing??i,...s.text?[t("strong",{class:"mn-bad",
text:` ${s.text}`})]:[])};const Xt=(t,e,n)=>[n(t[e]),g(t[`${e}_low`],t[`${e}_high`],n)];const It=()=>{if(!st||!$.
isConnected){Bt();return}const s=_t(),o=st,a=wt.value||o.sets[0],r=o.unedited[a],i=s?o.edit[s-1][a]:null,l=s?o.random[
s-1][a]:null,c=H[o.kind],d=`${f(100*N.level)} %`;ft.max=o.strengths.length;ft.value=s;e(gt,`${c.title[0].toUpperCase(
)+c.title.slice(1)}: `);e(pt,s?`${f(o.strengths[s-1])} (${p(o.shares[s-1])} of all ${c.taken} taken)`:
"none, the unedited model");ft.setAttribute("aria-valuetext",s?`${c.unit} ${f(o.strengths[s-1])}: ${p(i[n.get(
"measure")])} recited, clean `+`loss ${f(i.rise)} nats higher`:"unedited");Lt.setAttribute("data-at",s);kt.
replaceChildren(C("point",["",`unedited, n = ${r.n}`,s?`${c.unit} ${f(o.strengths[s-1])}`:"–",s?o.control:"–"],[...[
"strict","loose","lev","exact_prefix","nll"].map(t=>{const e=t==="strict"||t==="loose"||t==="lev"?p:f;return[K[t],Xt(
r,t,e),i?Xt(i,t,e):"–",l?Xt(l,t,e):"–"]}),[`clean loss, nats/token (${m(r.texts,"text")})`,[f(r.loss),""],i?[f(i.
loss),""]:"–",l?[f(l.loss),""]:"–"],["its rise over unedited","–",i?Xt(i,"rise",f):"–",l?Xt(l,"rise",f):"–"],[
"nDCG@10 to unedited, clean text",[f(r.ndcg),""],i?[f(i.ndcg),""]:"–",l?[f(l.ndcg),""]:"–"]]),t("p",{class:"mn-note",
text:`${d} intervals: exact (Clopper–Pearson) for shares recited, bootstrap over sequences or `+
`texts for the others. `+(o.sets.length>1?"“kept apart”: the half of the sequences that the edit was not found on.":
"Too few sequences to halve: recitation is of those that the edit was found on.")+` Control: one draw.`}));const h=s?[
["before",0],[`after, ${f(o.strengths[s-1])}`,s]]:[["before",0]];qt.replaceChildren(...o.texts.items.map((t,e)=>X(o.
texts,e,h,t.what==="clean"?"clean text, half of it given":t.what)));e(Pt,`memorised sequences ${o.texts.items[0]?
`(${o.texts.items[0].what}, best recited first)`:""} and clean text`);e(Nt,s?
`What the edit takes from each layer, ${c.unit} ${f(o.strengths[s-1])}`:
"What the edit takes from each layer: nothing yet");Bt();Gt()};const Vt=(t,e)=>{const s=_t(),o=wt.value||st.sets[0],a=
n.get("measure");return[nt(t,st,o,a,s,e[0],330),ot(t,st,o,a,s,e[1],168),at(t,st,o,s,e[1],168)]};const Yt=()=>{const t=
_t(),n=st;Mt.hidden=Ct.hidden=!t||!n.grid.matrices.length;if(Mt.hidden)return;Mt.replaceChildren(rt(w,n,t,j($),($.
clientWidth||900)-30,document.activeElement===Mt?lt:-1));const s=n.grid.names.flat().filter(Boolean);if(s.length===1){
Mt.hidden=true;const o=n.cellsAt(t).find(t=>!u(t));e(Ct,`The edit is in one layer, ${s[0]}: it takes ${p(
o)} of its ${H[n.kind].taken}.`);return}const o=n.grid.blocks.length,a=lt>=0?n.grid.names[Math.floor(lt/o)]?.[lt%o]:
"";const r=H[n.kind].taken;e(Ct,`A column a block; % of the layer’s ${r}, strongest shade `+`${p(Math.max(...n.
cellsAt(t).filter(t=>!u(t))))}.`+`${a?` ${a}: ${p(n.cellsAt(t)[lt])}.`:""}`)};const Gt=()=>{if(!st||!$.
isConnected)return;const t=Et.clientWidth||900,e=Math.max(260,Math.round(t>780?(t-24)/2:t)),[n,s,o]=Vt(w,[e,e]);vt.
replaceChildren(n);yt.replaceChildren(s);$t.replaceChildren(o);Yt()};Mt.onkeydown=t=>{const e=st?.grid.blocks.length,
n={ArrowLeft:-1,ArrowRight:1,ArrowUp:-e,ArrowDown:e}[t.key];if(!n||!st)return;t.preventDefault();t.stopPropagation();
const s=lt<0?0:lt+n;if(s>=0&&s<e*st.grid.matrices.length)lt=s;Yt()};Mt.onfocus=()=>{if(lt<0)lt=0;if(st)Yt()};Mt.
onblur=()=>{if(st)Yt()};Mt.addEventListener("click",t=>{const e=t.target.closest("[data-cell]");if(e){lt=Number(e.
dataset.cell);Yt()}});const Jt=()=>{st=it(n.get("found"));for(const t of[Et,Wt,Zt.files])t.hidden=!st;dt.hidden=!!st;
e(ht,st?.what??"");Tt();et();if(!st){Bt();return}const s=st,o=wt.value;wt.replaceChildren(...s.sets.map(t=>a(t,
`${t} (${s.unedited[t].n})`)));wt.value=s.sets.includes(o)?o:s.sets[0];Lt.setAttribute("data-points",s.strengths.
length);const r=I(s.unedited[s.sets[0]],s.sets[0]),i=[...r?[r]:[],...s.notes,...s.failed.map(([t,e])=>
`Left out: ${t}. ${e[0].toUpperCase()}${e.slice(1)}`)];mt.hidden=!i.length;mt.replaceChildren(t("ul",{},...i.map(e=>t(
"li",{text:e}))));xt.replaceChildren(...[["edit",s.method],["control",`${s.control} (control)`]].map(([e,n])=>t(
"span",{},v("svg",{width:26,height:12,"aria-hidden":"true"},v("line",{x1:0,x2:26,y1:6,y2:6,style:`stroke:var(${e===
"edit"?"--mn-accent":"--mn-other"})`,"stroke-width":1.6,"stroke-dasharray":e==="edit"?null:"5 4"}),Q(w,e,13,6)),n)),t(
"span",{text:"◯ the point chosen"}));const[l,c]=s.hashes;e(St,!l?"":l===c?
`Weight hash before and after all points: ${Dt(l)}, unchanged.`:`Weight hash ${Dt(l)} before, ${Dt(
c)} after: the model was changed meanwhile.`);It()};const Kt=()=>`subspace_${st.fields.method}_${st.fields.
memorised}`.replace(/[^\w-]+/g,"_");const Ht=()=>{const t=ct(st);return[Object.keys(t[0]),...t.map(t=>Object.values(
t))].map(h).join("")};const Qt=()=>q(Vt(x,[470,430]).map(y));const Zt=P(n,(t,e)=>l(t,{...e,fields:z()}),{stem:Kt,
figure:Qt,table:Ht,example:"curve.zarr, curve.nc, curve.csv, mask.npz"});e(Zt.files.querySelector(
"[data-testid=csv]"),"Curve (CSV)");e(Zt.files.querySelector(".mn-saverow .mn-label"),
"Save on the kernel’s machine: the curve (.zarr, .nc, .csv, .parquet) or the mask shown (.npz)");Zt.files.
querySelector(".mn-buttons").append(t("button",{type:"button",class:"mn-button","data-testid":"json",text:
"Curve (JSON)",onclick:()=>s(`${Kt()}.json`,"application/json",JSON.stringify({...st.fields,kind:st.kind,control:st.
control,level:N.level,layers:st.grid.names.flat().filter(Boolean),model:N.name,weights:st.hashes[0],points:ct(st)},(t,
e)=>typeof e==="number"&&!Number.isFinite(e)?null:e,1))}),t("button",{type:"button",class:"mn-button","data-testid":
"npz",text:"Mask shown (npz)",onclick:()=>l("document",{kind:"npz",fields:z()})}));let te=n.get("document").number??0;
const ee=()=>{const t=n.get("document");if(!t.number||t.number===te)return;te=t.number;s(`${Kt()}.${t.kind}`,t.type,U(
t.data))};c(["found"],Jt);c(["at","measure"],It);c(["doubts"],et);c(["force"],Bt);c(["memorised","reference","method",
"seed"],()=>{et();Tt()});c(["status","progress","error"],()=>{Tt();et();Bt()});c(["document"],ee);const ne=i.open(o,{
parts:[Z,Lt,Wt],drawer:Zt,box:Lt,draw:Gt});Jt();et();return ne}var ht={render:dt};export{ht as default};
