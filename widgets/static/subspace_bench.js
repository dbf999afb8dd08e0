// Built by npm run build from 16 files, sha256 bce4e2a5de2dee244ed00514be31ba52e19d5b6f0a18086fb3757f7bedef63ff
const e=(e,t={},...n)=>{const s=document.createElement(e);for(const[e,n]of Object.entries(t)){if(n===null||n===
undefined||n===false)continue;if(e==="text")s.textContent=n;else if(e.startsWith("on"))s.addEventListener(e.slice(2),
n);else if(e==="value")s.value=n;else s.setAttribute(e,n===true?"":n)}s.append(...n.filter(e=>e!==null&&e!==
undefined));if(s.matches("input, select, textarea, button, summary, [tabindex]"))s.setAttribute(
"data-lm-suppress-shortcuts","true");return s};const t=(e,t)=>{if(e.textContent!==t)e.textContent=t};const n=(e,t,n)=>
{let s=0;const o=new ResizeObserver(()=>{const o=e.isConnected?t.clientWidth:0,a=Math.abs(o-s)>4;s=o;if(!o)return;if(
a)n();e.setAttribute("data-ready","true")});o.observe(t);return()=>o.disconnect()};const s=(t,n,s)=>{const o=URL.
createObjectURL(s instanceof Blob?s:new Blob([s],{type:n}));const a=e("a",{href:o,download:t});document.body.append(
a);a.click();a.remove();setTimeout(()=>URL.revokeObjectURL(o),1e4)};const o=async(e,t)=>{try{await navigator.
clipboard.writeText(e)}catch{t.focus();t.select();document.execCommand("copy")}};const a=(t,n)=>e("option",{value:t,
text:n});const r=(t,n,s)=>e("label",{class:"mn-field"},e("span",{class:"mn-label",text:t}),n,null);const i=({label:t,
title:n,beside:s=[],...o},...a)=>e("section",{class:"mn-section","aria-label":t,...o},e("div",{class:"mn-side-head"},
typeof n==="string"?e("h3",{text:n}):n,...s),...a);const l=(t,n,s={"data-testid":"empty"})=>e("div",{class:"mn-empty",
...s},e("strong",{text:t}),e("p",{text:n}));const c=(e,t)=>{e.append(t);t.addEventListener("pointerdown",e=>{const t=
e.button===0&&e.target.closest("button");if(!t||t.disabled)return;const n=s=>{if(s.pointerId!==e.pointerId)return;
document.removeEventListener("pointerup",n,true);document.removeEventListener("pointercancel",n,true);const o=Math.
hypot(s.clientX-e.clientX,s.clientY-e.clientY)<6;if(s.type==="pointerup"&&o&&!t.contains(s.target)&&t.isConnected)t.
click()};document.addEventListener("pointerup",n,true);document.addEventListener("pointercancel",n,true)})};const d=
t=>{if(!t||!/^[\w-]+$/.test(t))return()=>{};const n=e("style",{text:
`.jp-OutputArea-child:has(.mnemoscope-static-${t}), .mnemoscope-static-${t} { display: none `+`!important; }`});
document.head.append(n);return()=>n.remove()};const h=e=>{if(e==="")return"∅";return e.replace(/ /g,"·").replace(
/\r?\n/g,"⏎").replace(/\t/g,"⇥").replace(/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
e=>`‹${e.codePointAt(0).toString(16).padStart(4,"0")}›`)};const u=(e,t)=>[...e].length>t?[...e].slice(0,t-1).join("")+
"…":e;const m=e=>e.map(e=>typeof e==="string"?`"${e.replace(/"/g,'""')}"`:Number.isNaN(e)?"":String(e)).join(",")+
"\r\n";const f=e=>e===null||e===undefined||Number.isNaN(e);const p=(e,t)=>`${e.toLocaleString("en")} ${t}${e===1?"":
"s"}`;const g=e=>{if(f(e))return"–";const t=Math.abs(e);return(t&&(t<1e-4||t>=1e6)?e.toExponential(1):String(Number(e.
toPrecision(3)))).replace(/-/g,"−")};const b=e=>f(e)?"–":`${g(100*e)} %`;const w=(e,t,n=g)=>f(e)||f(t)?"":`${n(
e)} to ${n(t)}`;const v=e=>h(e).replace(/·/g," ");const x=e=>e?e.slice(0,12):"…";const y={text:"var(--mn-text)",muted:
"var(--mn-muted)",line:"var(--mn-line)",accent:"var(--mn-accent)",other:"var(--mn-other)",page:"var(--mn-bg)"};
const $={text:"#1c1c1c",muted:"#555555",line:"#d0d0d0",accent:"#0b61b8",other:"#b35900",page:"#ffffff"};const k=(e,t={
},...n)=>{const s=document.createElementNS("http://www.w3.org/2000/svg",e);for(const[e,n]of Object.entries(t))if(!f(
n))s.setAttribute(e,n);s.append(...n);return s};const M=e=>({text:(new XMLSerializer).serializeToString(e),width:
Number(e.getAttribute("width")),height:Number(e.getAttribute("height"))});const C=(e,t,n)=>{const s=(t-e)/Math.max(1,
n)||1,o=10**Math.floor(Math.log10(s)),a=o*([1,2,5].find(e=>e*o>=s*.999)??10),r=[];for(let n=Math.ceil(e/a-1e-9);n*a<=
t+1e-9*a;n++)r.push(Number((n*a).toPrecision(12))||0);return r};const N=(e,{width:t,height:n,title:s,label:o,x:a,y:r,
left:i=54})=>{const l=t-14,c=s?30:14,d=n-38,h=(t,n)=>k("text",{style:`fill:${e.muted}`,"font-size":10.5,...t},n);
const u=(e,t,n)=>{const s=e.map??(e=>e),o=s(e.low),a=s(e.high);return e=>t+(s(e)-o)/(a-o||1)*(n-t)};const m=u(a,i,l),
f=u(r,d,c);const p=k("svg",{xmlns:"http://www.w3.org/2000/svg",viewBox:`0 0 ${t} ${n}`,width:t,height:n,role:"img",
"aria-label":o,"font-family":"system-ui, DejaVu Sans, Arial, sans-serif","font-size":11});if(s)p.append(h({x:2,y:13,
"font-size":12,"font-weight":600,style:`fill:${e.text}`},s));for(const[t,n]of r.marks)p.append(k("line",{x1:i,x2:l,y1:
f(t),y2:f(t),style:`stroke:${e.line}`,"stroke-width":.7}),h({x:i-6,y:f(t)+3.5,"text-anchor":"end"},n));let g=-99;for(
const[e,n]of a.marks){const s=m(e),o=n.length*3+3;if(s-o<g)continue;g=s+o;p.append(h({x:Math.min(s,t-o-2),y:d+14,
"text-anchor":"middle"},n))}p.append(k("line",{x1:i,x2:l,y1:d,y2:d,style:`stroke:${e.muted}`}),h({x:(i+l)/2,y:n-5,
"text-anchor":"middle"},a.title),h({transform:`translate(11 ${(c+d)/2}) rotate(-90)`,"text-anchor":"middle"},r.
title));return{root:p,X:m,Y:f,left:i,right:l,top:c,bottom:d,words:h}};const E=(...t)=>e("thead",{},e("tr",{},...t.map(
t=>e("th",{scope:"col",text:t}))));const A=(t,n,s)=>e("div",{class:"mn-tablebox"},e("table",{class:"mn-table",
"data-testid":t},E(...n),e("tbody",{},...s.map(([t,...n])=>e("tr",{},e("th",{scope:"row",text:t}),...n.map(t=>Array.
isArray(t)?e("td",{},e("span",{text:t[0]}),t[1]?e("span",{class:"mn-why",text:t[1]}):null):e("td",{text:t})))))));
const S=e=>[1,3,5].map(t=>parseInt(e.slice(t,t+2),16));const _=([e,t,n])=>`rgb(${Math.round(e)},${Math.round(
t)},${Math.round(n)})`;const L=([e,t,n])=>(.2126*e+.7152*t+.0722*n)/255;const j=e=>{const[t,n,s]=e.map(e=>e<=10.3?
e/3294.6:((e/255+.055)/1.055)**2.4);const o=.2126*t+.7152*n+.0722*s;return 1.05/(o+.05)>(o+.05)/.05?"#ffffff":
"#000000"};const O=e=>{const t=e.map(S),n=t.length-1;return e=>{const s=Math.min(1,Math.max(0,e))*n,o=Math.min(n-1,
Math.floor(s)),a=s-o;return t[o].map((e,n)=>e+a*(t[o+1][n]-e))}};const T={light:{diverging:O(["#0a3a75","#2f7fc1",
"#a6cdec","#f9f9f7","#fbc98f","#dd7f1d","#853703"]),single:O(["#f9f9f7","#b9d8ee","#5a9fd4","#1f62a6","#08264f"]),
missing:[214,214,214],ink:"#1c1c1c"},dark:{diverging:O(["#a9d6ff","#4a9be0","#22507d","#202328","#7a4515","#dd8430",
"#ffd0a0"]),single:O(["#202328","#1d4a73","#2f7fc1","#7cbcf0","#e6f4ff"]),missing:[78,82,88],ink:"#f2f2f2"}};const P=
t=>{const n=getComputedStyle(t.closest(".mnemoscope")??t);const s=(e,t)=>n.getPropertyValue(e).trim()||t;const o=e(
"canvas",{width:1,height:1}).getContext("2d",{willReadFrequently:true});o.fillStyle="#ffffff";o.fillStyle=n.
backgroundColor;o.fillRect(0,0,1,1);const a=[...o.getImageData(0,0,1,1).data].slice(0,3),r=L(a)<.4;const i=r?T.dark:T.
light;return{dark:r,...i,page:a,text:n.color,muted:s("--mn-muted","#666"),accent:s("--mn-accent","#0b6bcb"),
background:n.backgroundColor,font:s("--mn-font","system-ui, sans-serif"),mono:s("--mn-mono","monospace")}};const z=e=>
{const t=new MutationObserver(()=>requestAnimationFrame(e));for(const e of[document.documentElement,document.body])t.
observe(e,{attributes:true,attributeFilter:["class","style","data-jp-theme-name","data-jp-theme-light",
"data-vscode-theme-kind"]});const n=matchMedia("(prefers-color-scheme: dark)");n.addEventListener("change",e);return(
)=>{t.disconnect();n.removeEventListener("change",e)}};const U=(t,n=3)=>new Promise((s,o)=>{const a=new Image;a.
onload=()=>{const o=e("canvas",{width:t.width*n,height:t.height*n});const r=o.getContext("2d");r.scale(n,n);r.
drawImage(a,0,0);o.toBlob(s,"image/png")};a.onerror=()=>o(new Error("the browser could not draw the figure"));a.src=
"data:image/svg+xml;charset=utf-8,"+encodeURIComponent(t.text)});const q=e=>{const t=e.reduce((e,t)=>e+t.width,0),n=
Math.max(...e.map(e=>e.height));let s=0;const o=e.map(e=>{const t=s;s+=e.width;return e.text.replace("<svg ",
`<svg x="${t}" `)}).join("");return{text:
`<svg xmlns="http://www.w3.org/2000/svg" width="${t}" height="${n}" viewBox="0 0 ${t} `+
`${n}"><rect width="100%" height="100%" fill="#ffffff"/>${o}</svg>`,width:t,height:n}};const R=e=>{if(
!e)return new Float32Array(0);const t=e instanceof ArrayBuffer?new DataView(e):e;const n=t.byteOffset%4?t.buffer.
slice(t.byteOffset,t.byteOffset+t.byteLength):t.buffer;return new Float32Array(n,t.byteOffset%4?0:t.byteOffset,Math.
floor(t.byteLength/4))};const F=e=>new Uint8Array(e.buffer??e,e.byteOffset??0,e.byteLength);const W=e=>{const t=[];
return{undo:t,send:(t,n={})=>e.send({type:t,...n}),listen:(n,s)=>{for(const o of n){e.on(`change:${o}`,s);t.push(()=>
e.off(`change:${o}`,s))}},set:t=>{for(const[n,s]of Object.entries(t))e.set(n,s);e.save_changes()}}};const D=(t,n,s)=>{
const o={},r={range:true,number:true};const i=(e,n)=>{const s=typeof t.get(e);return s==="boolean"?n.checked:s!==
"number"?n.value:n.value===""?NaN:Number(n.value)};const l=(e,t)=>{if(e.type==="checkbox")e.checked=t;else e.value=t};
const c=(e,a)=>{o[e]=a;a.setAttribute("data-testid",e);let c,d,h=0;const u=()=>{clearTimeout(d);const n=h-Date.now();
if(n>0){d=setTimeout(u,n);return}if(i(e,a)!==t.get(e)){l(a,t.get(e));a.dispatchEvent(new Event("pulled"))}};u();n([e],
u);const m=()=>{clearTimeout(c);const n=i(e,a);if(!Number.isNaN(n)&&n!==t.get(e))s({[e]:n})};a.addEventListener(
"change",m);if(a.tagName!=="SELECT"&&a.type!=="checkbox")a.addEventListener("input",()=>{clearTimeout(c);if(r[a.
type]){h=Date.now()+700;m()}else c=setTimeout(m,350)});a.flush=m;return a};return{inputs:o,bound:c,shown:()=>Object.
fromEntries(Object.entries(o).map(([e,t])=>[e,i(e,t)]).filter(([,e])=>!Number.isNaN(e))),flush:()=>{for(
const e of Object.values(o))e.flush()},area:(t,n={})=>c(t,e("textarea",{rows:2,spellcheck:"false",autocapitalize:
"off",...n})),line:(t,n)=>c(t,e("input",{type:"text",spellcheck:"false",autocomplete:"off",placeholder:n})),choose:(t,
n)=>c(t,e("select",{},...n.map(([e,t])=>a(e,t))))}};const B=(t,n,s,o="")=>e("button",{type:"button",class:
`mn-button ${o}`,"data-testid":t,text:n,onclick:s});const X=(e,t,n)=>{let o=e.get("document").number??0;t([
"document"],()=>{const{number:t,kind:a,type:r,data:i}=e.get("document");if(!t||t===o)return;o=t;s(`${n()}.${a}`,r,F(
i))})};const I={svg:"Figure (SVG)",png:"Figure (PNG)",csv:"Data (CSV)",save:
"Save the labelled data on the kernel’s machine as"};const V=(n,a,{stem:i,figure:l,table:c,example:d,labels:h={},
before:u=[],after:m=[]})=>{const f={...I,...h};const p=e("textarea",{class:"mn-code",readonly:true,rows:12,spellcheck:
"false","aria-label":"Python that reproduces this view","data-testid":"code"});const g=e("input",{type:"text",
"data-testid":"path",placeholder:d,spellcheck:"false"});const b=e("div",{class:"mn-note","data-testid":"saved",role:
"status"}),w=e("input",{type:"checkbox","data-testid":"overwrite"});const v=()=>a("save",{path:g.value,overwrite:w.
checked});g.onkeydown=e=>{if(e.key==="Enter")v()};const x=async e=>{const n=e.currentTarget;await o(p.value,p);t(n,
"Copied");setTimeout(()=>t(n,"Copy"),1500)};const y=e("div",{},e("div",{class:"mn-buttons"},...u,B("svg",f.svg,()=>s(
`${i()}.svg`,"image/svg+xml",l().text)),B("png",f.png,async()=>s(`${i()}.png`,"image/png",await U(l()))),B("csv",f.
csv,()=>s(`${i()}.csv`,"text/csv",c())),...m),e("div",{class:"mn-saverow"},r(f.save,g),B("save","Save",v),e("label",{
class:"mn-check"},w,"replace what is there")),b);const $=e("details",{class:"mn-more","data-testid":"export"},e(
"summary",{text:"Export and code"}),y,e("div",{class:"mn-side-head"},e("span",{class:"mn-label",text:
"Python that reproduces this view"}),B("copy","Copy",x,"mn-small")),p);const k=()=>{const e=n.get("saved");t(b,e.
text??"");b.classList.toggle("mn-bad",e.ok===false);p.value=n.get("code");p.rows=p.value.split("\n").length+1};return{
element:$,files:y,draw:k}};const Y=(n,s,{fields:o,words:a})=>{const r=e("p",{"data-testid":"force",role:"status"}),i=
B("put","Put this edit in force",()=>s("put",{fields:o()})),l=B("undo","Undo",()=>s("undo")),c=e("div",{class:
"mn-weights","data-testid":"weights"},i,l,r);const d=({state:e,what:t,before:n,now:s,same:o})=>{if(e===
"in force")return a.edited(t,`Weight hash ${x(n)} → ${x(s)}`);if(e==="error")return"";if(e!=="undone")return a.none();
const r=o?`unchanged from ${x(n)} before the edit`:`NOT the ${x(n)} from before`;return a.undone(t,`weight hash ${x(
s)}, ${r}.`)};const h={"in force":"Undo: weights back, bit-equal",undone:"Undone: weights bit-equal"};const u=({ready:
s,name:o})=>{const a=n.get("force");c.setAttribute("data-state",a.state);i.disabled=!s||!!a.doing;if(o)t(i,o);l.
disabled=a.state!=="in force";t(l,a.state==="undone"&&!a.same?"Undo":h[a.state]??"Undo");r.replaceChildren(a.doing??d(
a),...a.text?[e("strong",{class:"mn-bad",text:` ${a.text}`})]:[])};return{element:c,draw:u}};const G=e=>{if(
!e?.items)return{tokens:[],items:[],made:()=>[]};const t=R(e.made),n=e.items.map(e=>e.gold.length),s=n.reduce((e,t)=>
e+t,0),o=s?t.length/s:0;const a=[];n.reduce((e,t,n)=>{a[n]=e;return e+t*o},0);return{...e,made:(e,s)=>[...t.subarray(
a[e]+s*n[e],a[e]+(s+1)*n[e])]}};const J=(t,n,s)=>{const o=(n,o)=>{const a=h(t.tokens[n]);if(!s||s[o]===n)return e(
"span",{text:a});return e("mark",{title:`differs: in the data ${h(t.tokens[s[o]])}`},e("span",{class:"mn-hidden",text:
"differs: "}),a)};return e("span",{class:"mn-tokens"},...n.flatMap((t,n)=>[o(t,n),e("wbr")]))};const K=(e,t)=>e.
filter((e,n)=>e!==t[n]).length;const H=(t,n,s,o)=>{const a=t.items[n],r=(t,n,s)=>e("tr",{},e("th",{scope:"row",text:
t}),e("td",{},n),e("td",{class:"mn-why",text:s??""}));return e("div",{class:"mn-text","data-testid":"text",
"data-what":a.what},e("div",{class:"mn-text-head"},e("strong",{text:v(a.name)}),e("span",{class:"mn-note",text:
` ${o}`})),e("table",{class:"mn-lines"},e("tbody",{},r("given",J(t,a.given)),r("in the data",J(t,a.gold)),...s.map(([
s,o])=>{const i=t.made(n,o),l=K(i,a.gold);return l?r(s,J(t,i,a.gold),`${l} of ${p(i.length,"token")} differ`):r(s,e(
"span",{class:"mn-note",text:"as in the data, word for word"}))}))))};const Q=(e,t)=>e.strict===0?
`The unedited model recites none of the ${p(e.n,"sequence")}${t?` “${t}”`:""} `+`word for word${e.loose>0?
` (loosely: ${b(e.loose)})`:", nor loosely"}: what `+
`an edit takes away cannot be seen there. Choose text that it knows, a longer prefix or a shorter `+`suffix.`:"";
const Z=()=>e("p",{class:"mn-note"},"Tokens that differ from the data: ",e("span",{class:"mn-tokens"},e("mark",{text:
"boxed and underlined"})),".");const ee=(t,n,{title:s,names:o})=>{const a=e("div",{class:"mn-error",role:"alert",
"data-testid":"refused",hidden:true});const r=()=>{const r=t.get("doubts"),i=!!r.refused&&o.every(e=>r[e]===t.get(e));
a.hidden=!i;a.replaceChildren(...i?[e("strong",{text:s}),e("pre",{text:r.refused})]:[]);if(i&&t.get("error").text===r.
refused)n.hidden=true};return{element:a,draw:r}};const te=(t,{send:n,listen:s})=>{const o=e("select",{"data-testid":
"examples","aria-label":"Example shown",onchange:()=>n("example",{number:Number(o.value)})});const r=e("label",{class:
"mn-examples"},e("span",{class:"mn-note",text:"Example"}),o);const i=()=>{const{names:e=[],own:n=false,chosen:s=null}=
t.get("examples");r.hidden=e.length+n<1||e.length===1&&!n&&s===0;o.replaceChildren(...s===null?[a("","choose one …")]:
[],...e.map((e,t)=>a(String(t),e)),...n?[a("-1","your last input")]:[]);o.value=s===null?"":String(s)};s(["examples"],
i);i();return r};const ne=(n,s,{send:o,listen:a},{start:r,label:i,help:l,stop:c,unit:d})=>{const h=e("button",{class:
"mn-button mn-primary",type:"button","data-testid":"run",text:i,title:`${l} (Ctrl+Enter)`,onclick:r});const u=e(
"button",{class:"mn-button",type:"button","data-testid":"stop",text:"Stop",title:c,onclick:()=>o("stop")});const m=e(
"div",{class:"mn-progress-fill"}),f=e("span",{class:"mn-note","data-testid":"progress",role:"status"});const p=e(
"div",{class:"mn-progress",role:"progressbar","aria-label":d,"aria-valuemin":0,"aria-valuemax":100},m);const g=e(
"div",{class:"mn-error",role:"alert","data-testid":"error",hidden:true});const b=()=>{const o=n.get("status"),a=n.get(
"progress"),r=a.total?Math.round(100*a.done/a.total):0,i=n.get("error");u.disabled=o!=="running";s.setAttribute(
"data-status",o);p.hidden=o!=="running"&&o!=="stopping";m.style.width=`${r}%`;p.setAttribute("aria-valuenow",r);t(f,a.
text??"");g.hidden=!i.text;g.replaceChildren(...i.text?[e("strong",{text:i.title}),e("pre",{text:i.text})]:[])};a([
"status","progress","error"],b);b();const w=e("div",{class:"mn-run"},h,u,e("div",{class:"mn-status"},p,f));return{run:
h,row:w,error:g}};const se=(t,{title:s,testid:o,name:a,kind:r,data:i,start:l,label:h="Run",help:u,stop:m,unit:f})=>{
const p=W(t);const g=e("span",{class:"mn-chip","data-testid":"model",text:i??t.get("model_info").text});const b=e(
"div",{class:`mnemoscope ${r}`,"data-testid":o,"data-lm-suppress-shortcuts":"true",role:"region","aria-label":a});
const{run:w,row:v,error:x}=ne(t,b,p,{start:l,label:h,help:u,stop:m,unit:f});b.addEventListener("keydown",e=>{if(e.
key!=="Enter"||!(e.ctrlKey||e.metaKey))return;e.preventDefault();e.stopPropagation();w.click()});const y=(o,{parts:a,
drawer:r,box:i,draw:l})=>{const h=e("header",{class:"mn-header"},e("h2",{text:s}),e("div",{class:"mn-about"},te(t,p),
g));b.append(h,...a.filter(e=>e),r.element);c(o,b);const u=()=>{b.setAttribute("data-dark",P(b).dark);l()};p.listen([
"saved","code"],r.draw);p.undo.push(z(u),n(b,i,u),d(t.get("static_key")));r.draw();return()=>{for(const e of p.undo)e(
)}};return{...p,root:b,line:g,run:w,row:v,error:x,open:y}};const oe={strict:"recited word for word",loose:
"recited loosely (75 % right)",lev:"edit distance, share of tokens",exact_prefix:"right tokens from the start",nll:
"loss of the suffix, nats/token"};const ae={sparsity:{title:"share of weights set to 0",unit:"sparsity",taken:
"weights"},kept:{title:"curvature mass kept",unit:"mass kept",taken:"coefficients"}};const re=(e,t,n,s,o=4)=>t===
"edit"?k("circle",{cx:n,cy:s,r:o,style:`fill:${e.accent};stroke:${e.page}`,"stroke-width":1}):k("rect",{x:n-o+.5,y:s-
o+.5,width:2*o-1,height:2*o-1,style:`fill:${e.page};stroke:${e.other}`,"stroke-width":1.6});const ie=(e,t)=>{const n=
.06*(t-e)||.05;return[e-n,t+n]};const le=(e,t,n,s,o,a,r,i)=>{for(const l of["random","edit"]){const c=[n.unedited,
...n[l]].map((e,t)=>[e[s],t]),d=l==="edit"?"edit":"control",h=l==="edit"?e.accent:e.other;const u=c.map(([e,n])=>{
const[s,o,i]=r(e);return{x:t.X(a(e,n)),y:t.Y(s),low:o,high:i,value:s,i:n,row:e}}).filter(e=>Number.isFinite(e.x)&&
Number.isFinite(e.y)&&!f(e.value));if(!u.length)continue;t.root.append(k("path",{d:`M${u.map(e=>`${e.x.toFixed(
1)} ${e.y.toFixed(1)}`).join("L")}`,style:`fill:none;stroke:${h}`,"stroke-width":1.6,"stroke-dasharray":l==="edit"?
null:"5 4"}));for(const s of u){const a=s.i===o,r=k("g",{"data-point":s.i,"data-line":d,style:`stroke:${h}`},k(
"title",{},`${s.i?`${d==="edit"?n.method:n.control}, ${g(n.strengths[s.i-1])}`:"unedited"}`+`: ${g(s.value)} ${w(s.
low,s.high)}`));if(!f(s.low)&&!f(s.high))r.append(k("line",{x1:s.x,x2:s.x,y1:t.Y(s.low),y2:t.Y(s.high),"stroke-width":
1.2,opacity:a?1:.45}));const l=i?.(s.row);if(l&&!f(l[0]))r.append(k("line",{x1:t.X(l[0]),x2:t.X(l[1]),y1:s.y,y2:s.y,
"stroke-width":1.2,opacity:a?1:.45}));r.append(re(e,d,s.x,s.y));if(a)r.append(k("circle",{cx:s.x,cy:s.y,r:8.5,style:
`fill:none;stroke:${e.text}`,"stroke-width":1.8,class:"mn-here"}));t.root.append(r)}}};const ce=e=>Math.asinh(e/.1);
const de=(e,t,n,s,o,a,r)=>{const i=[t.unedited,...t.edit,...t.random].map(e=>e[n]),l=i.flatMap(e=>[e.rise,e.rise_low,
e.rise_high]).filter(e=>!f(e)),c=Math.max(.02,...l),d=c>1;const h=Math.min(0,...l),u=d?[-1,-.1,0,.1,.3,1,3,10,30].
filter(e=>e<=c&&e>=h):C(h,c,a/110);const m=N(e,{width:a,height:r,title:"Recitation against what it costs",label:
`Trade-off: ${oe[s]} against the rise of the clean loss; `+`${p(t.strengths.length,"point")} of ${t.
method}, beside ${t.control}.`,x:{low:h-.04*c,high:c*1.05,map:d?ce:null,marks:u.map(e=>[e,g(e)]),title:a<360?
`rise, nats per token${d?" (compressed)":""}`:`rise of the clean loss, nats per token${d?" (compressed above 0.1)":
""}`},y:{low:-.04,high:1.04,marks:[0,.25,.5,.75,1].map(e=>[e,`${100*e} %`]),title:s==="strict"?
"recited word for word":"recited loosely"}});le(e,m,t,n,o,e=>e.rise,e=>[e[s],e[`${s}_low`],e[`${s}_high`]],e=>[e.
rise_low,e.rise_high]);return m.root};const he=(e,t,n,s,o,a,{title:r,read:i,y:l})=>{const c=["none",...t.strengths.
map(g)],d=N(e,{width:o,height:a,title:r,label:`${r} by ${ae[t.kind].title}: `+`${t.edit.map((e,s)=>`${g(t.strengths[
s])}: ${g(i(e[n])[0])}`).join(", ")}.`,x:{low:-.4,high:c.length-.6,marks:c.map((e,t)=>[t,e]),title:ae[t.kind].title},
y:l});d.root.append(k("line",{x1:d.X(s),x2:d.X(s),y1:d.top,y2:d.bottom,style:`stroke:${e.muted}`,"stroke-width":1,
"stroke-dasharray":"2 3"}));le(e,d,t,n,s,(e,t)=>t,i);return d.root};const ue=(e,t,n,s,o,a,r)=>he(e,t,n,o,a,r,{title:
oe[s][0].toUpperCase()+oe[s].slice(1),read:e=>[e[s],e[`${s}_low`],e[`${s}_high`]],y:{low:-.04,high:1.04,marks:[0,.5,
1].map(e=>[e,`${100*e} %`]),title:"share of sequences"}});const me=(e,t,n,s,o,a)=>{const r=[...t.edit,...t.random].
flatMap(e=>[e[n].rise,e[n].rise_low,e[n].rise_high]).filter(e=>!f(e)),[i,l]=ie(Math.min(0,...r),Math.max(.01,...r)),c=
l>1;return he(e,t,n,s,o,a,{title:"Clean loss over the unedited model",read:e=>[e.rise,e.rise_low,e.rise_high],y:{low:
i,high:l,map:c?ce:null,marks:(c?[-1,0,.1,.3,1,3,10,30].filter(e=>e>=i&&e<=l):C(i,l,5)).map(e=>[e,g(e)]),title:
"rise, nats per token"}})};const fe=(e,t,n,s,o,a)=>{const{matrices:r,blocks:i,names:l}=t.grid,c=i.length,d=t.cellsAt(
n),h=Math.max(1e-9,...d.filter(e=>!f(e))),u=Math.max(40,...r.map(e=>e.length*6.4+10));const m=Math.max(7,Math.min(150,
(o-u-6)/c)),p=22,w=k("svg",{xmlns:"http://www.w3.org/2000/svg",width:Math.ceil(u+m*c+6),height:p*r.length+18,role:
"img","font-family":"system-ui, DejaVu Sans, Arial, sans-serif","font-size":10.5,viewBox:`0 0 ${Math.ceil(u+m*c+
6)} ${p*r.length+18}`,"aria-label":`Share of each layer’s ${ae[t.kind].taken} taken, ${r.length} matrices by ${c} `+
`blocks, at most ${b(h)}.`});const v=Math.ceil(20/m),x=(t,n,s,o={})=>k("text",{x:t,y:n,style:`fill:${e.muted}`,...o},
s);r.forEach((t,n)=>{w.append(x(u-6,n*p+15,t,{"text-anchor":"end"}));i.forEach((t,o)=>{const r=d[n*c+o];if(!l[n][
o])return;const i=s.single(f(r)?0:r/h),v={x:u+o*m,y:n*p,width:m-1,height:p-1};w.append(k("rect",{...v,"data-cell":n*c+
o,style:`fill:${_(i)};stroke:${e.line}`,"stroke-width":.5},k("title",{},`${l[n][o]}: ${b(r)}`)));if(m>=34)w.append(x(
u+o*m+m/2,n*p+15,g(100*r),{"text-anchor":"middle","pointer-events":"none",style:`fill:${j(i)}`}));if(a===n*c+o)w.
append(k("rect",{...v,style:`fill:none;stroke:${e.text}`,"stroke-width":2.4}))})});i.forEach((e,t)=>{if(t%v===0)w.
append(x(u+(t+.5)*m,p*r.length+13,String(e),{"text-anchor":"middle"}))});return w};const pe=e=>{if(
!e?.unedited)return null;const t=R(e.cells),n=e.grid.matrices.length*e.grid.blocks.length;return{...e,texts:G(e.
texts),cellsAt:e=>[...t.subarray((e-1)*n,e*n)]}};const ge=["strict","strict_low","strict_high","loose","loose_low",
"loose_high","lev","exact_prefix","nll","loss","rise","rise_low","rise_high","ndcg"];const be=e=>[["unedited",NaN,0,e.
unedited],...["edit","random"].flatMap(t=>e[t].map((n,s)=>[t==="edit"?"edit":"control",e.strengths[s],e.shares[s],
n]))].flatMap(([t,n,s,o])=>e.sets.map(e=>({line:t,strength:n,share_taken:s,sequences:e,n:o[e].n,...Object.fromEntries(
ge.map(t=>[t,o[e][t]??NaN]))})));const we=(e,{send:t,listen:n},{found:o,figure:a,fields:r})=>{const i=e.get(
"model_info"),l=()=>`subspace_${o().fields.method}_${o().fields.memorised}`.replace(/[^\w-]+/g,"_");const c=()=>{
const e=be(o());return[Object.keys(e[0]),...e.map(e=>Object.values(e))].map(m).join("")};const d=()=>JSON.stringify({
...o().fields,kind:o().kind,control:o().control,level:i.level,layers:o().grid.names.flat().filter(Boolean),model:i.
name,weights:o().hashes[0],points:be(o())},(e,t)=>typeof t==="number"&&!Number.isFinite(t)?null:t,1);X(e,n,l);
return V(e,(e,n)=>t(e,{...n,fields:r()}),{stem:l,figure:a,table:c,example:"curve.zarr, curve.nc, curve.csv, mask.npz",
labels:{csv:"Curve (CSV)",save:
"Save on the kernel’s machine: the curve (.zarr, .nc, .csv, .parquet) or the mask shown (.npz)"},after:[B("json",
"Curve (JSON)",()=>s(`${l()}.json`,"application/json",d())),B("npz","Mask shown (npz)",()=>t("document",{kind:"npz",
fields:r()}))]})};const ve=n=>{let s=null,o=0,a=-1;const r=e("div",{class:"mn-chart",tabindex:"0",role:"group",
"data-testid":"layers","aria-label":"Layer map; arrow keys read its cells"}),l=e("div",{class:"mn-note","data-testid":
"cell",role:"status"}),c=e("h3",{}),d=i({label:"Layer map",title:c},r,l);const h=()=>{if(!s)return;const{unit:e,taken:
i}=ae[s.kind],{grid:d}=s;t(c,o?`What the edit takes from each layer, ${e} ${g(s.strengths[o-1])}`:
"What the edit takes from each layer: nothing yet");r.hidden=l.hidden=!o||!d.matrices.length;if(r.hidden)return;
const h=document.activeElement===r?a:-1,u=s.cellsAt(o),m=u.filter(e=>!f(e)),p=d.names.flat().filter(Boolean);r.
replaceChildren(fe(y,s,o,P(n),(n.clientWidth||900)-30,h));if(p.length===1){r.hidden=true;t(l,
`The edit is in one layer, ${p[0]}: it takes ${b(m[0])} of its ${i}.`);return}const w=d.blocks.length,v=a>=0?d.names[
Math.floor(a/w)]?.[a%w]:"";t(l,`A column a block; % of the layer’s ${i}, strongest shade ${b(Math.max(...m))}.`+`${v?
` ${v}: ${b(u[a])}.`:""}`)};r.onkeydown=e=>{const t=s?.grid.blocks.length,n={ArrowLeft:-1,ArrowRight:1,ArrowUp:-t,
ArrowDown:t}[e.key];if(!n||!s)return;e.preventDefault();e.stopPropagation();const o=a<0?0:a+n;if(o>=0&&o<t*s.grid.
matrices.length)a=o;h()};r.onfocus=()=>{if(a<0)a=0;h()};r.onblur=h;r.addEventListener("click",e=>{const t=e.target.
closest("[data-cell]");if(t){a=Number(t.dataset.cell);h()}});const u=(e,t)=>{[s,o]=[e,t];h()};return{element:d,show:u,
draw:h}};const xe=["strict","loose","lev"];const ye=(t,n,s,o)=>{const a=t.unedited[s],r=n?t.edit[n-1][s]:null,i=n?t.
random[n-1][s]:null,l=ae[t.kind];const c=(e,t,n)=>[n(e[t]),w(e[`${t}_low`],e[`${t}_high`],n)];const d=(e,t,n,s=c(a,t,
n))=>[e,s,r?c(r,t,n):"–",i?c(i,t,n):"–"];return[A("point",["",`unedited, n = ${a.n}`,n?`${l.unit} ${g(t.strengths[n-
1])}`:"–",n?t.control:"–"],[...["strict","loose","lev","exact_prefix","nll"].map(e=>d(oe[e],e,xe.includes(e)?b:g)),d(
`clean loss, nats/token (${p(a.texts,"text")})`,"loss",g),d("its rise over unedited","rise",g,"–"),d(
"nDCG@10 to unedited, clean text","ndcg",g)]),e("p",{class:"mn-note",text:`${g(
100*o)} % intervals: exact (Clopper–Pearson) for shares recited, bootstrap over sequences or `+
`texts for the others. `+(t.sets.length>1?"“kept apart”: the half of the sequences that the edit was not found on.":
"Too few sequences to halve: recitation is of those that the edit was found on.")+` Control: one draw.`})]};const $e=(
e,t)=>{const n=[["before",0],...t?[[`after, ${g(e.strengths[t-1])}`,t]]:[]];return e.texts.items.map((t,s)=>H(e.texts,
s,n,t.what==="clean"?"clean text, half of it given":t.what))};function ke({model:n,el:s}){const o=se(n,{title:
"Subspace bench",testid:"subspace-bench",name:"Subspace bench",kind:"mn-memory",label:"Compute curve",help:
"Compute the curve; points that are there are not computed again",stop:
"Stop after the point in progress; finished points stay, and the weights are restored",unit:"Points computed",start:(
)=>{A();c("run",{fields:L()})}});const{send:c,listen:d,root:h,row:m,error:f}=o;const p=n.get("model_info"),w=n.get(
"names");const C=e=>{for(const[t,s]of Object.entries(e))n.set(t,s);c("move",{fields:e});Ee()};const{bound:N,shown:E,
flush:A,choose:S,line:_}=D(n,d,C);const L=()=>{const e=E();e.at=n.get("at");return e};const j=e=>S(e,w[e].map(([e,
t])=>[e,u(v(t),60)]));const O=_("sparsities","0.005, 0.01, 0.02"),T=_("kept","0.9, 0.8, 0.7"),P=r(
"Points: share of weights set to 0",O),z=r("Points: curvature mass kept",T);P.classList.add("mn-grow");z.classList.
add("mn-grow");const U=ee(n,f,{title:"These sets overlap: nothing is run with them",names:["memorised","reference",
"seed"]});const R=e("div",{},e("div",{class:"mn-controls"},r("Memorised text",j("memorised")),r("Reference text",j(
"reference")),r("Method",S("method",n.get("methods"))),r("Seed",N("seed",e("input",{type:"number",min:0,step:1})))),e(
"div",{class:"mn-controls"},P,z,m),U.element,f);const F=()=>n.get("method")==="curvature"?"kept":"sparsity";const W=(
)=>{P.hidden=F()!=="sparsity";z.hidden=F()!=="kept";U.draw()};let B=null;const X=l("No curve yet",
"“Compute curve” finds the weights that hold the memorised text, takes more and more of them out, "+
"and measures at each point how much is still recited and what clean text loses, beside a random "+
"edit of equal size. The weights are restored after every point.");const I=e("span",{class:"mn-note","data-testid":
"what"}),V=e("div",{class:"mn-warning","data-testid":"stale",hidden:true}),G=e("div",{class:"mn-warning",
"data-testid":"notes",hidden:true});const J=e("input",{type:"range",min:0,max:1,step:1,"data-testid":"at",
"aria-label":"Point of the curve"}),K=e("output",{"data-testid":"here"}),H=e("span",{class:"mn-label"});const te=S(
"measure",[["strict","word for word"],["loose","loosely, 75 % right"]]),ne=e("select",{"data-testid":"set"}),oe=e(
"div",{class:"mn-key"});const ie=e("div",{class:"mn-chart","data-testid":"plane"}),le=e("div",{class:"mn-chart",
"data-testid":"recited"}),ce=e("div",{class:"mn-chart","data-testid":"loss"}),he=e("div",{"data-testid":"numbers"});
const fe=e("p",{class:"mn-note","data-testid":"unchanged"});const ge=e("div",{class:"mn-moves"},e("div",{class:
"mn-field mn-slide"},e("span",{},H,K),J),r("Recitation",te),r("of the sequences",ne));const be=e("div",{},G,ge,oe,e(
"div",{class:"mn-two"},ie,e("div",{},le,ce)),he,fe);const xe=i({label:"Trade-off curve",title:
"How much is recited, and what that costs",beside:[I],"data-testid":"curve"},V,X,be);const ke=()=>B?Math.max(0,Math.
min(n.get("at"),B.strengths.length)):0;const Me=e=>{const t=Math.max(0,Math.min(e,B.strengths.length));n.set("at",t);
c("move",{fields:{at:t}});Te()};J.oninput=()=>{if(B)Me(Number(J.value))};for(const e of[ie,le,ce])e.addEventListener(
"click",e=>{const t=e.target.closest("[data-point]");if(t&&B)Me(Number(t.dataset.point))});ne.onchange=()=>Te();
const Ce=()=>["running","stopping"].includes(n.get("status"));const Ne=()=>B?Object.entries(B.fields).filter(([e,t])=>
String(n.get(e))!==String(t)).map(([e])=>e):[];const Ee=()=>{const e=Ne();V.hidden=!e.length||Ce();t(V,V.hidden?"":
`The fields have changed (${e.join(", ")}). What stands here is of ${B.what}; press `+
`“Compute curve” for the new question.`)};const Ae=e("div",{"data-testid":"texts"}),Se=e("span",{class:"mn-note"});
const _e=Y(n,c,{fields:()=>({at:ke()}),words:{edited:(e,t)=>
`In force: ${e}. ${t}; whatever the notebook asks this model now is answered by the edited one.`,undone:(e,t)=>
`Undone (${e}): ${t}`,none:()=>
"The model has its own weights. The curve undoes its edits itself; here one can be left in "+
"force, to try the edited model in the notebook."}});const Le=ve(h);const je=e("div",{},i({label:"Weights",title:
"Weights"},_e.element),Le.element,i({label:"Texts before and after",title:"Texts before and after",beside:[Se]},Z(),
Ae));const Oe=()=>{const e=ke(),t=e?`Put ${ae[B.kind].unit} ${g(B.strengths[e-1])} in force`:"Put an edit in force";
_e.draw({ready:!Ce()&&!!e,name:t})};const Te=()=>{if(!B||!h.isConnected){Oe();return}const e=ke(),s=B,o=ne.value||s.
sets[0],a=e?s.edit[e-1][o]:null,r=ae[s.kind];J.max=s.strengths.length;J.value=e;t(H,`${r.title[0].toUpperCase()+r.
title.slice(1)}: `);t(K,e?`${g(s.strengths[e-1])} (${b(s.shares[e-1])} of all ${r.taken} taken)`:
"none, the unedited model");J.setAttribute("aria-valuetext",e?`${r.unit} ${g(s.strengths[e-1])}: ${b(a[n.get(
"measure")])} recited, clean `+`loss ${g(a.rise)} nats higher`:"unedited");xe.setAttribute("data-at",e);he.
replaceChildren(...ye(s,e,o,p.level));Ae.replaceChildren(...$e(s,e));t(Se,`memorised sequences ${s.texts.items[0]?
`(${s.texts.items[0].what}, best recited first)`:""} and clean text`);Oe();ze()};const Pe=(e,t)=>{const s=ke(),o=ne.
value||B.sets[0],a=n.get("measure");return[de(e,B,o,a,s,t[0],330),ue(e,B,o,a,s,t[1],168),me(e,B,o,s,t[1],168)]};
const ze=()=>{if(!B||!h.isConnected)return;const e=be.clientWidth||900,t=Math.max(260,Math.round(e>780?(e-24)/2:e)),[
n,s,o]=Pe(y,[t,t]);ie.replaceChildren(n);le.replaceChildren(s);ce.replaceChildren(o);Le.show(B,ke())};const Ue=()=>{B=
pe(n.get("found"));for(const e of[be,je,qe.files])e.hidden=!B;X.hidden=!!B;t(I,B?.what??"");Ee();W();if(!B){Oe();
return}const s=B,o=ne.value;ne.replaceChildren(...s.sets.map(e=>a(e,`${e} (${s.unedited[e].n})`)));ne.value=s.sets.
includes(o)?o:s.sets[0];xe.setAttribute("data-points",s.strengths.length);const r=Q(s.unedited[s.sets[0]],s.sets[0]),
i=[...r?[r]:[],...s.notes,...s.failed.map(([e,t])=>`Left out: ${e}. ${t[0].toUpperCase()}${t.slice(1)}`)];G.hidden=!i.
length;G.replaceChildren(e("ul",{},...i.map(t=>e("li",{text:t}))));oe.replaceChildren(...[["edit",s.method],[
"control",`${s.control} (control)`]].map(([t,n])=>e("span",{},k("svg",{width:26,height:12,"aria-hidden":"true"},k(
"line",{x1:0,x2:26,y1:6,y2:6,style:`stroke:var(${t==="edit"?"--mn-accent":"--mn-other"})`,"stroke-width":1.6,
"stroke-dasharray":t==="edit"?null:"5 4"}),re(y,t,13,6)),n)),e("span",{text:"◯ the point chosen"}));const[l,c]=s.
hashes;t(fe,!l?"":l===c?`Weight hash before and after all points: ${x(l)}, unchanged.`:`Weight hash ${x(
l)} before, ${x(c)} after: the model was changed meanwhile.`);Te()};const qe=we(n,o,{found:()=>B,figure:()=>q(Pe($,[
470,430]).map(M)),fields:L});d(["found"],Ue);d(["at","measure"],Te);d(["doubts"],W);d(["force"],Oe);d(["memorised",
"reference","method","seed"],()=>{W();Ee()});d(["status","progress","error"],()=>{Ee();W();Oe()});const Re=o.open(s,{
parts:[R,xe,je],drawer:qe,box:xe,draw:ze});Ue();W();return Re}var Me={render:ke};export{Me as default};
