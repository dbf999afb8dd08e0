// Built by npm run build from 13 files, sha256 ae0399f86c0b3f0b0544b58e4337276e77dc9bcdbdab6de47ad39c223e80c727
const e=(e,t={},...n)=>{const a=document.createElement(e);for(const[e,n]of Object.entries(t)){if(n===null||n===
undefined||n===false)continue;if(e==="text")a.textContent=n;else if(e.startsWith("on"))a.addEventListener(e.slice(2),
n);else if(e==="value")a.value=n;else a.setAttribute(e,n===true?"":n)}a.append(...n.filter(e=>e!==null&&e!==
undefined));if(a.matches("input, select, textarea, button, summary, [tabindex]"))a.setAttribute(
"data-lm-suppress-shortcuts","true");return a};const t=(e,t)=>{if(e.textContent!==t)e.textContent=t};const n=(e,t,n)=>
{let a=0;const s=new ResizeObserver(()=>{const s=e.isConnected?t.clientWidth:0,o=Math.abs(s-a)>4;a=s;if(!s)return;if(
o)n();e.setAttribute("data-ready","true")});s.observe(t);return()=>s.disconnect()};const a=(t,n,a)=>{const s=URL.
createObjectURL(a instanceof Blob?a:new Blob([a],{type:n}));const o=e("a",{href:s,download:t});document.body.append(
o);o.click();o.remove();setTimeout(()=>URL.revokeObjectURL(s),1e4)};const s=async(e,t)=>{try{await navigator.
clipboard.writeText(e)}catch{t.focus();t.select();document.execCommand("copy")}};const o=(t,n)=>e("option",{value:t,
text:n});const r=(t,n,a)=>e("label",{class:"mn-field"},e("span",{class:"mn-label",text:t}),n,null);const i=(e,t)=>{e.
append(t);t.addEventListener("pointerdown",e=>{const t=e.button===0&&e.target.closest("button");if(!t||t.
disabled)return;const n=a=>{if(a.pointerId!==e.pointerId)return;document.removeEventListener("pointerup",n,true);
document.removeEventListener("pointercancel",n,true);const s=Math.hypot(a.clientX-e.clientX,a.clientY-e.clientY)<6;if(
a.type==="pointerup"&&s&&!t.contains(a.target)&&t.isConnected)t.click()};document.addEventListener("pointerup",n,
true);document.addEventListener("pointercancel",n,true)})};const l=t=>{if(!t||!/^[\w-]+$/.test(t))return()=>{};
const n=e("style",{text:`.jp-OutputArea-child:has(.mnemoscope-static-${t}), .mnemoscope-static-${t} { display: none `+
`!important; }`});document.head.append(n);return()=>n.remove()};const c=e=>{if(e==="")return"∅";return e.replace(/ /g,
"·").replace(/\r?\n/g,"⏎").replace(/\t/g,"⇥").replace(
/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,e=>`‹${e.codePointAt(0).toString(16).
padStart(4,"0")}›`)};const d=e=>e.map(e=>typeof e==="string"?`"${e.replace(/"/g,'""')}"`:Number.isNaN(e)?"":String(
e)).join(",")+"\r\n";const h=e=>e===null||e===undefined||Number.isNaN(e);const m=(e,t)=>`${e.toLocaleString(
"en")} ${t}${e===1?"":"s"}`;const u=e=>{if(h(e))return"–";const t=Math.abs(e);return(t&&(t<1e-4||t>=1e6)?e.
toExponential(1):String(Number(e.toPrecision(3)))).replace(/-/g,"−")};const f=e=>h(e)?"–":`${u(100*e)} %`;const p=(e,
t,n=u)=>h(e)||h(t)?"":`${n(e)} to ${n(t)}`;const g=e=>c(e).replace(/·/g," ");const b={text:"var(--mn-text)",muted:
"var(--mn-muted)",line:"var(--mn-line)",accent:"var(--mn-accent)",other:"var(--mn-other)",page:"var(--mn-bg)"};
const y={text:"#1c1c1c",muted:"#555555",line:"#d0d0d0",accent:"#0b61b8",other:"#b35900",page:"#ffffff"};const v=(e,t={
},...n)=>{const a=document.createElementNS("http://www.w3.org/2000/svg",e);for(const[e,n]of Object.entries(t))if(!h(
n))a.setAttribute(e,n);a.append(...n);return a};const x=e=>({text:(new XMLSerializer).serializeToString(e),width:
Number(e.getAttribute("width")),height:Number(e.getAttribute("height"))});const w=(e,t,n)=>{const a=(t-e)/Math.max(1,
n)||1,s=10**Math.floor(Math.log10(a)),o=s*([1,2,5].find(e=>e*s>=a*.999)??10),r=[];for(let n=Math.ceil(e/o-1e-9);n*o<=
t+1e-9*o;n++)r.push(Number((n*o).toPrecision(12))||0);return r};const k=(e,{width:t,height:n,title:a,label:s,x:o,y:r,
left:i=54})=>{const l=t-14,c=a?30:14,d=n-38,h=(t,n)=>v("text",{style:`fill:${e.muted}`,"font-size":10.5,...t},n);
const m=(e,t,n)=>{const a=e.map??(e=>e),s=a(e.low),o=a(e.high);return e=>t+(a(e)-s)/(o-s||1)*(n-t)};const u=m(o,i,l),
f=m(r,d,c);const p=v("svg",{xmlns:"http://www.w3.org/2000/svg",viewBox:`0 0 ${t} ${n}`,width:t,height:n,role:"img",
"aria-label":s,"font-family":"system-ui, DejaVu Sans, Arial, sans-serif","font-size":11});if(a)p.append(h({x:2,y:13,
"font-size":12,"font-weight":600,style:`fill:${e.text}`},a));for(const[t,n]of r.marks)p.append(v("line",{x1:i,x2:l,y1:
f(t),y2:f(t),style:`stroke:${e.line}`,"stroke-width":.7}),h({x:i-6,y:f(t)+3.5,"text-anchor":"end"},n));let g=-99;for(
const[e,n]of o.marks){const a=u(e),s=n.length*3+3;if(a-s<g)continue;g=a+s;p.append(h({x:Math.min(a,t-s-2),y:d+14,
"text-anchor":"middle"},n))}p.append(v("line",{x1:i,x2:l,y1:d,y2:d,style:`stroke:${e.muted}`}),h({x:(i+l)/2,y:n-5,
"text-anchor":"middle"},o.title),h({transform:`translate(11 ${(c+d)/2}) rotate(-90)`,"text-anchor":"middle"},r.
title));return{root:p,X:u,Y:f,left:i,right:l,top:c,bottom:d,words:h}};const $=(...t)=>e("thead",{},e("tr",{},...t.map(
t=>e("th",{scope:"col",text:t}))));const M=(t,n,a)=>e("div",{class:"mn-tablebox"},e("table",{class:"mn-table",
"data-testid":t},$(...n),e("tbody",{},...a.map(([t,...n])=>e("tr",{},e("th",{scope:"row",text:t}),...n.map(t=>Array.
isArray(t)?e("td",{},e("span",{text:t[0]}),t[1]?e("span",{class:"mn-why",text:t[1]}):null):e("td",{text:t})))))));
const S=e=>[1,3,5].map(t=>parseInt(e.slice(t,t+2),16));const A=([e,t,n])=>(.2126*e+.7152*t+.0722*n)/255;const C=e=>{
const t=e.map(S),n=t.length-1;return e=>{const a=Math.min(1,Math.max(0,e))*n,s=Math.min(n-1,Math.floor(a)),o=a-s;
return t[s].map((e,n)=>e+o*(t[s+1][n]-e))}};const E={light:{diverging:C(["#0a3a75","#2f7fc1","#a6cdec","#f9f9f7",
"#fbc98f","#dd7f1d","#853703"]),single:C(["#f9f9f7","#b9d8ee","#5a9fd4","#1f62a6","#08264f"]),missing:[214,214,214],
ink:"#1c1c1c"},dark:{diverging:C(["#a9d6ff","#4a9be0","#22507d","#202328","#7a4515","#dd8430","#ffd0a0"]),single:C([
"#202328","#1d4a73","#2f7fc1","#7cbcf0","#e6f4ff"]),missing:[78,82,88],ink:"#f2f2f2"}};const O=t=>{const n=
getComputedStyle(t.closest(".mnemoscope")??t);const a=(e,t)=>n.getPropertyValue(e).trim()||t;const s=e("canvas",{
width:1,height:1}).getContext("2d",{willReadFrequently:true});s.fillStyle="#ffffff";s.fillStyle=n.backgroundColor;s.
fillRect(0,0,1,1);const o=[...s.getImageData(0,0,1,1).data].slice(0,3),r=A(o)<.4;const i=r?E.dark:E.light;return{dark:
r,...i,page:o,text:n.color,muted:a("--mn-muted","#666"),accent:a("--mn-accent","#0b6bcb"),background:n.
backgroundColor,font:a("--mn-font","system-ui, sans-serif"),mono:a("--mn-mono","monospace")}};const L=e=>{const t=
new MutationObserver(()=>requestAnimationFrame(e));for(const e of[document.documentElement,document.body])t.observe(e,
{attributes:true,attributeFilter:["class","style","data-jp-theme-name","data-jp-theme-light",
"data-vscode-theme-kind"]});const n=matchMedia("(prefers-color-scheme: dark)");n.addEventListener("change",e);return(
)=>{t.disconnect();n.removeEventListener("change",e)}};const N=(t,n=3)=>new Promise((a,s)=>{const o=new Image;o.
onload=()=>{const s=e("canvas",{width:t.width*n,height:t.height*n});const r=s.getContext("2d");r.scale(n,n);r.
drawImage(o,0,0);s.toBlob(a,"image/png")};o.onerror=()=>s(new Error("the browser could not draw the figure"));o.src=
"data:image/svg+xml;charset=utf-8,"+encodeURIComponent(t.text)});const j=(n,o,{stem:i,figure:l,table:c,example:d})=>{
const h=e("textarea",{class:"mn-code",readonly:true,rows:12,spellcheck:"false","aria-label":
"Python that reproduces this view","data-testid":"code"});const m=e("input",{type:"text","data-testid":"path",
placeholder:d,spellcheck:"false"});const u=e("div",{class:"mn-note","data-testid":"saved",role:"status"}),f=e("input",
{type:"checkbox","data-testid":"overwrite"});const p=()=>o("save",{path:m.value,overwrite:f.checked});m.onkeydown=e=>{
if(e.key==="Enter")p()};const g=(t,n,a,s="")=>e("button",{type:"button",class:`mn-button ${s}`,"data-testid":t,text:n,
onclick:a});const b=async e=>{const n=e.currentTarget;await s(h.value,h);t(n,"Copied");setTimeout(()=>t(n,"Copy"),
1500)};const y=e("div",{},e("div",{class:"mn-buttons"},g("svg","Figure (SVG)",()=>a(`${i()}.svg`,"image/svg+xml",l().
text)),g("png","Figure (PNG)",async()=>a(`${i()}.png`,"image/png",await N(l()))),g("csv","Data (CSV)",()=>a(`${i(
)}.csv`,"text/csv",c()))),e("div",{class:"mn-saverow"},r("Save the labelled data on the kernel’s machine as",m),g(
"save","Save",p),e("label",{class:"mn-check"},f,"replace what is there")),u);const v=e("details",{class:"mn-more",
"data-testid":"export"},e("summary",{text:"Export and code"}),y,e("div",{class:"mn-side-head"},e("span",{class:
"mn-label",text:"Python that reproduces this view"}),g("copy","Copy",b,"mn-small")),h);const x=()=>{const e=n.get(
"saved");t(u,e.text??"");u.classList.toggle("mn-bad",e.ok===false);h.value=n.get("code");h.rows=h.value.split("\n").
length+1};return{element:v,files:y,draw:x}};const _=e=>{if(!e)return new Float32Array(0);const t=
e instanceof ArrayBuffer?new DataView(e):e;const n=t.byteOffset%4?t.buffer.slice(t.byteOffset,t.byteOffset+t.
byteLength):t.buffer;return new Float32Array(n,t.byteOffset%4?0:t.byteOffset,Math.floor(t.byteLength/4))};const q=e=>{
const t=[];return{undo:t,send:(t,n={})=>e.send({type:t,...n}),listen:(n,a)=>{for(const s of n){e.on(`change:${s}`,a);
t.push(()=>e.off(`change:${s}`,a))}},set:t=>{for(const[n,a]of Object.entries(t))e.set(n,a);e.save_changes()}}};
const T=(t,n,a)=>{const s={},r={range:true,number:true};const i=(e,n)=>{const a=typeof t.get(e);return a==="boolean"?
n.checked:a!=="number"?n.value:n.value===""?NaN:Number(n.value)};const l=(e,t)=>{if(e.type==="checkbox")e.checked=t;
else e.value=t};const c=(e,o)=>{s[e]=o;o.setAttribute("data-testid",e);let c,d,h=0;const m=()=>{clearTimeout(d);
const n=h-Date.now();if(n>0){d=setTimeout(m,n);return}if(i(e,o)!==t.get(e)){l(o,t.get(e));o.dispatchEvent(new Event(
"pulled"))}};m();n([e],m);const u=()=>{clearTimeout(c);const n=i(e,o);if(!Number.isNaN(n)&&n!==t.get(e))a({[e]:n})};o.
addEventListener("change",u);if(o.tagName!=="SELECT"&&o.type!=="checkbox")o.addEventListener("input",()=>{
clearTimeout(c);if(r[o.type]){h=Date.now()+700;u()}else c=setTimeout(u,350)});o.flush=u;return o};return{inputs:s,
bound:c,shown:()=>Object.fromEntries(Object.entries(s).map(([e,t])=>[e,i(e,t)]).filter(([,e])=>!Number.isNaN(e))),
flush:()=>{for(const e of Object.values(s))e.flush()},area:(t,n={})=>c(t,e("textarea",{rows:2,spellcheck:"false",
autocapitalize:"off",...n})),line:(t,n)=>c(t,e("input",{type:"text",spellcheck:"false",autocomplete:"off",placeholder:
n})),choose:(t,n)=>c(t,e("select",{},...n.map(([e,t])=>o(e,t))))}};const F=(t,{send:n,listen:a})=>{const s=e("select",
{"data-testid":"examples","aria-label":"Example shown",onchange:()=>n("example",{number:Number(s.value)})});const r=e(
"label",{class:"mn-examples"},e("span",{class:"mn-note",text:"Example"}),s);const i=()=>{const{names:e=[],own:n=false,
chosen:a=null}=t.get("examples");r.hidden=e.length+n<1||e.length===1&&!n&&a===0;s.replaceChildren(...a===null?[o("",
"choose one …")]:[],...e.map((e,t)=>o(String(t),e)),...n?[o("-1","your last input")]:[]);s.value=a===null?"":String(
a)};a(["examples"],i);i();return r};const R=(n,a,{send:s,listen:o},{start:r,label:i,help:l,stop:c,unit:d})=>{const h=
e("button",{class:"mn-button mn-primary",type:"button","data-testid":"run",text:i,title:`${l} (Ctrl+Enter)`,onclick:
r});const m=e("button",{class:"mn-button",type:"button","data-testid":"stop",text:"Stop",title:c,onclick:()=>s(
"stop")});const u=e("div",{class:"mn-progress-fill"}),f=e("span",{class:"mn-note","data-testid":"progress",role:
"status"});const p=e("div",{class:"mn-progress",role:"progressbar","aria-label":d,"aria-valuemin":0,"aria-valuemax":
100},u);const g=e("div",{class:"mn-error",role:"alert","data-testid":"error",hidden:true});const b=()=>{const s=n.get(
"status"),o=n.get("progress"),r=o.total?Math.round(100*o.done/o.total):0,i=n.get("error");m.disabled=s!=="running";a.
setAttribute("data-status",s);p.hidden=s!=="running"&&s!=="stopping";u.style.width=`${r}%`;p.setAttribute(
"aria-valuenow",r);t(f,o.text??"");g.hidden=!i.text;g.replaceChildren(...i.text?[e("strong",{text:i.title}),e("pre",{
text:i.text})]:[])};o(["status","progress","error"],b);b();const y=e("div",{class:"mn-run"},h,m,e("div",{class:
"mn-status"},p,f));return{run:h,row:y,error:g}};const P=(t,{title:a,testid:s,name:o,kind:r,data:c,start:d,label:h=
"Run",help:m,stop:u,unit:f})=>{const p=q(t);const g=e("span",{class:"mn-chip","data-testid":"model",text:c??t.get(
"model_info").text});const b=e("div",{class:`mnemoscope ${r}`,"data-testid":s,"data-lm-suppress-shortcuts":"true",
role:"region","aria-label":o});const{run:y,row:v,error:x}=R(t,b,p,{start:d,label:h,help:m,stop:u,unit:f});b.
addEventListener("keydown",e=>{if(e.key!=="Enter"||!(e.ctrlKey||e.metaKey))return;e.preventDefault();e.
stopPropagation();y.click()});const w=(s,{parts:o,drawer:r,box:c,draw:d})=>{const h=e("header",{class:"mn-header"},e(
"h2",{text:a}),e("div",{class:"mn-about"},F(t,p),g));b.append(h,...o.filter(e=>e),r.element);i(s,b);const m=()=>{b.
setAttribute("data-dark",O(b).dark);d()};p.listen(["saved","code"],r.draw);p.undo.push(L(m),n(b,c,m),l(t.get(
"static_key")));r.draw();return()=>{for(const e of p.undo)e()}};return{...p,root:b,line:g,run:y,row:v,error:x,open:
w}};const X={kfac:"curvature",random:"random bases",svd:"singular vectors"};const B=(e,t)=>`${u(100*e)}–${u(
100*t)} %`;const D=(e,t)=>{if(!e?.names)return null;const n={...e};for(const a of["density","mass","energy"]){const s=
_(e[a]);n[a]=e=>s.subarray(e*t,(e+1)*t)}return n};const Y=(e,t,n,a,s,o)=>{const{layer:r,everywhere:i,low:l,high:c,log:
d}=a,h=[0,...n.slice(0,-1)],f=n.map((e,t)=>d?Math.sqrt(Math.max(h[t],e/3)*e):(h[t]+e)/2);let p=1,g=1;t.names.forEach((
e,n)=>{for(const e of t.density(n))if(e>0&&Number.isFinite(e)){p=Math.max(p,e);g=Math.min(g,e)}});g=Math.max(g,
p*1e-14);const b=Math.ceil(Math.log10(p/g)),y=Math.max(1,Math.ceil(b/6)),x=[];for(let e=Math.floor(Math.log10(g));e<=
Math.ceil(Math.log10(p));e+=1)if(e%y===0&&10**e>=g*.8&&10**e<=p*1.3)x.push([10**e,e>=-2&&e<4?String(10**e):`1e${e}`.
replace("-","−")]);const w=t.names.indexOf(r),$=d?n[0]/3:0,M=k(e,{width:s,height:o,left:60,label:
`Curvature mass by rank of ${m(t.names.length,"layer")}; ${i?"all layers":r} `+`chosen, band ${B(l,
c)}. Arrow keys move the band, Shift with them its end.`,x:{low:$,high:1,map:d?Math.log:null,marks:(d?[.001,.01,.1,
.25,.5,1]:[0,.1,.25,.5,.75,1]).map(e=>[e,`${u(100*e)} %`]),title:
"rank of the pair of eigenvectors, % of all pairs, largest mass first"},y:{low:g*.7,high:p*1.5,map:Math.log,marks:x,
title:"mass of a pair, layer’s mean = 1"}});const S=M.X(Math.max(l,$)),A=M.X(c);M.root.append(v("rect",{x:S,width:
Math.max(1,A-S),y:M.top,height:M.bottom-M.top,style:`fill:${e.other};opacity:.16`,class:"mn-band"}));for(const t of[S,
A])M.root.append(v("line",{x1:t,x2:t,y1:M.top,y2:M.bottom,style:`stroke:${e.other}`,"stroke-width":1.8,
"stroke-dasharray":"5 3"}));M.root.append(M.words({x:Math.min(Math.max((S+A)/2,M.left+40),M.right-40),y:M.top+2,
"text-anchor":"middle","font-weight":600,style:`fill:${e.text};stroke:${e.page};stroke-width:3px;paint-order:stroke`},
B(l,c)));const C=e=>{let n="",a="M";t.density(e).forEach((e,t)=>{if(!(e>0))return;n+=`${a}${M.X(f[t]).toFixed(1)} ${M.
Y(Math.max(e,g)).toFixed(1)}`;a="L"});return n};t.names.forEach((t,n)=>{if(n!==w)M.root.append(v("path",{d:C(n),
"data-layer":t,style:`fill:none;stroke:${i?e.accent:e.muted};opacity:${i?.75:.45}`,"stroke-width":i?1.1:.9}))});if(w>=
0)M.root.append(v("path",{d:C(w),"data-layer":r,style:`fill:none;stroke:${e.accent}`,"stroke-width":2.4}));M.share=e=>
{const t=Math.max(0,Math.min(1,(e-M.left)/(M.right-M.left)));return d?t===0?0:$**(1-t):t};return M};const W=(e,t,n,a,
s)=>{const o=(e,t)=>e[`${t}_${n}`],r=t.flatMap(e=>[...o(e,"kfac"),...o(e,"random")]).filter(e=>!h(e)).concat([1]),i=
.08*(Math.max(...r)-Math.min(...r))||.05,l=[1,2,5,10,20].find(e=>t.length/e<=a/30)??50;const c=Math.min(...r)-i,d=
Math.max(...r)+i,m=k(e,{width:a,height:s,title:`Memorised over clean, ${n} of each layer`,label:
`Activation of memorised over clean text in the band, by layer: `+`${t.map(e=>`${e.layer} ${u(o(e,"kfac")[0])}`).join(
", ")}.`,x:{low:-.6,high:t.length-.4,marks:t.map((e,t)=>[t,String(t+1)]).filter(([e])=>!e||(e+1)%l===0),title:
"layer, as listed"},y:{low:c,high:d,marks:w(c,d,5).map(e=>[e,u(e)]),title:"ratio"}});const f=Math.min(6,.18*(m.X(1)-m.
X(0)));m.root.append(v("line",{x1:m.left,x2:m.right,y1:m.Y(1),y2:m.Y(1),style:`stroke:${e.muted}`,"stroke-dasharray":
"2 3"}));t.forEach((t,n)=>{for(const[a,s,r]of[["random",e.other,f],["kfac",e.accent,-f]]){const[i,l,c]=o(t,a),d=m.X(
n)+r;if(h(i))continue;const f=v("g",{style:`stroke:${s}`},v("title",{},`${t.layer}, ${X[a]}: ${u(i)} ${p(l,c)}`));if(
!h(l)&&!h(c))f.append(v("line",{x1:d,x2:d,y1:m.Y(l),y2:m.Y(c),"stroke-width":1.3}));f.append(a==="kfac"?v("circle",{
cx:d,cy:m.Y(i),r:3.2,style:`fill:${s}`}):v("rect",{x:d-3,y:m.Y(i)-3,width:6,height:6,style:`fill:${e.page}`,
"stroke-width":1.4}));m.root.append(f)}});return m.root};const I=(t,{before:n,everywhere:a,s:s,info:o,width:r,waiting:
i})=>{const l=e=>e?[u(e[0]),p(e[1],e[2])]:["…",""];const c=["curvature mass","squared weight norm",
"activation, memorised over clean","same, band of random bases","same, band of singular vectors"],d=e=>[[f(e.mass),
""],[f(e.energy),""],...["kfac","random","svd"].map(t=>l(e[`${t}_${s}`]))];const h=t[0]??n,m=t.length>1?M("band",[
"layer",...c],t.map((e,t)=>[`${t+1}. ${e.layer}`,...d(e)])):M("band",["","value","interval"],a&&!t.length?[]:d(h).map(
([e,t],n)=>[c[n],e,t]));const g=[e("p",{class:"mn-note",text:
`Above 1: memorised text uses the band more than clean text. ${u(100*o.level)} % `+`intervals, bootstrap over ${o.
n} memorised and ${o.clean} clean sequences; controls are `+`bands of equal width in other bases.`})];if(t.length>1){
g.unshift(e("div",{class:"mn-chart","data-testid":"ratios"},W(b,t,s,r,190)),e("div",{class:"mn-key"},e("span",{text:
"● curvature"}),e("span",{text:"□ random bases"})),e("details",{},e("summary",{text:`The ${t.
length} layers as a table`}),m))}else if(t.length||!a)g.unshift(m);if(!t.length)g.unshift(e("p",{class:"mn-note",role:
"status",text:`Reading the activations of both sets …${i}`}));return g};const K=e=>{if(!e?.items)return{tokens:[],
items:[],made:()=>[]};const t=_(e.made),n=e.items.map(e=>e.gold.length),a=n.reduce((e,t)=>e+t,0),s=a?t.length/a:0;
const o=[];n.reduce((e,t,n)=>{o[n]=e;return e+t*s},0);return{...e,made:(e,a)=>[...t.subarray(o[e]+a*n[e],o[e]+(a+1)*n[
e])]}};const z=(t,n,a)=>{const s=(n,s)=>{const o=c(t.tokens[n]);if(!a||a[s]===n)return e("span",{text:o});return e(
"mark",{title:`differs: in the data ${c(t.tokens[a[s]])}`},e("span",{class:"mn-hidden",text:"differs: "}),o)};
return e("span",{class:"mn-tokens"},...n.flatMap((t,n)=>[s(t,n),e("wbr")]))};const U=(e,t)=>e.filter((e,n)=>e!==t[n]).
length;const V=(t,n,a,s)=>{const o=t.items[n],r=(t,n,a)=>e("tr",{},e("th",{scope:"row",text:t}),e("td",{},n),e("td",{
class:"mn-why",text:a??""}));return e("div",{class:"mn-text","data-testid":"text","data-what":o.what},e("div",{class:
"mn-text-head"},e("strong",{text:g(o.name)}),e("span",{class:"mn-note",text:` ${s}`})),e("table",{class:"mn-lines"},e(
"tbody",{},r("given",z(t,o.given)),r("in the data",z(t,o.gold)),...a.map(([a,s])=>{const i=t.made(n,s),l=U(i,o.gold);
return l?r(a,z(t,i,o.gold),`${l} of ${m(i.length,"token")} differ`):r(a,e("span",{class:"mn-note",text:
"as in the data, word for word"}))}))))};const G=(e,t)=>e.strict===0?`The unedited model recites none of the ${m(e.n,
"sequence")}${""} `+`word for word${e.loose>0?` (loosely: ${f(e.loose)})`:", nor loosely"}: what `+
`an edit takes away cannot be seen there. Choose text that it knows, a longer prefix or a shorter `+`suffix.`:"";
const J=()=>e("p",{class:"mn-note"},"Tokens that differ from the data: ",e("span",{class:"mn-tokens"},e("mark",{text:
"boxed and underlined"})),".");const H=(t,n,a)=>{const s=t.tables.unedited,o=(e,t,n)=>e?[n(e[t]),p(e[`${t}_low`],e[
`${t}_high`],n)]:"…",r=["","unedited","without the band","random bases, equal norm"],i=["unedited","removed",
"control"].map(e=>t.tables[e]);const l=t.texts?K(t.texts):null,[c,d]=t.hashes;return[...G(s)?[e("div",{class:
"mn-warning","data-testid":"none-recited",text:G(s)})]:[],...n?[]:[e("div",{class:"mn-warning","data-testid":"stale",
text:`What stands here is of ${t.what}; “Take it out” measures the band now brushed.`})],M("removal",r,[[
"recited word for word","strict",f],["recited loosely (75 % right)","loose",f],["edit distance, share of tokens",
"lev",f],["loss of the suffix, nats/token","nll",u]].map(([e,t,n])=>[e,...i.map(e=>o(e,t,n))]).concat([[
"clean loss, nats/token",...i.map(e=>e?[u(e.loss),""]:"…")],["its rise over unedited","–",...i.slice(1).map(e=>o(e,
"rise",u))],["nDCG@10 to unedited, clean text",...i.map(e=>e?[u(e.ndcg),""]:"…")]])),e("p",{class:"mn-note",text:`${m(
s.n,"memorised sequence")}, ${m(s.texts,"clean text")}; ${u(100*a)} `+
`% intervals, exact for shares recited, bootstrap for the others. `+`${t.removed?`The band holds ${f(t.
removed**2)} of the squared weight norm. `:""}`+(d?c===d?`Weight hash ${c.slice(0,12)} before and after: unchanged. `:
`Weight hash ${c.slice(0,12)} before, ${d.slice(0,12)} after: `+"the model was changed meanwhile. ":"")+
`A band that was chosen by looking here is to be tested on other text.`}),...l?[e("h4",{text:"Most changed texts"}),J(
),...l.items.map((e,n)=>V(l,n,[["before",0],["without the band",1]],e.what==="clean"?"clean text, half of it given":
`loss of the suffix ${t.change[n]>0?"+":""}${u(t.change[n])} nats/token`))]:[]]};const Q=24;function Z({model:n,el:
s}){const i=P(n,{title:"Loss curvature",testid:"curvature-view",name:"Curvature view",kind:"mn-memory",label:
"Take it out",help:"Take the band out, measure recitation and clean loss, and put it back",stop:
"Stop after the measurement in progress; the weights are restored",unit:"Measurements",start:()=>l("run",{fields:S(
)})});const{send:l,listen:c,root:h,row:u,error:p}=i;const g=n.get("model_info"),v=n.get("ends"),w=n.get("layers"),k=[
0,...v];const $=e=>{for(const[t,a]of Object.entries(e))n.set(t,a);l("move",{fields:{...S(),...e}});ce()};const{bound:
M}=T(n,c,$),S=()=>Object.fromEntries(["layer","everywhere","low","high","seed"].map(e=>[e,n.get(e)]));const A=e=>k.
reduce((t,n)=>Math.abs(n-e)<Math.abs(t-e)?n:t,0),C=(e,t)=>k[Math.max(0,Math.min(k.length-1,k.indexOf(A(e))+t))];let E=
null,O=null,L=null,N=false;const _=e("div",{class:"mn-empty","data-testid":"empty"}),q=e("div",{class:
"mn-chart mn-brush",tabindex:"0",role:"group","data-testid":"spectrum","aria-label":
"Spectrum and band. Arrow keys left and right move the band, with Shift its end, with Alt its "+
"beginning; up and down choose the layer."});const F=e("div",{class:"mn-layers",role:"group","aria-label":"Layers",
"data-testid":"layers"}),R=e("p",{class:"mn-note","data-testid":"facts"});const X=(t,a)=>{const s=e("input",{type:
"number",min:0,max:100,step:1,"data-testid":t,"aria-label":a,onchange:()=>{const e=A(Number(s.value)/100);G(...t===
"low"?[e,n.get("high")]:[n.get("low"),e])}});return s};const W=X("low","Band begins at, %"),K=X("high",
"Band ends at, %"),z=M("everywhere",e("input",{type:"checkbox"})),U=e("input",{type:"checkbox","data-testid":"log",
onchange:()=>{N=U.checked;ie()}});const V=n.get("presets").map(([t,n,a])=>e("button",{type:"button",class:
"mn-button mn-small",text:t,"data-testid":`preset-${n}`,onclick:()=>G(n,a)}));const G=(e,t)=>{if(!(e<t)){ae();
return}$({low:e,high:t})};const J=(e,t)=>{if(e<t){n.set("low",e);n.set("high",t);ie()}};const Z=e=>{const t=q.
querySelector("svg").getBoundingClientRect();return O.share((e.clientX-t.left)*(O.width/t.width))};q.addEventListener(
"pointerdown",e=>{if(!O||e.button)return;const t=Z(e),[a,s]=[n.get("low"),n.get("high")],o=.012,r=Math.abs(t-a)<o?
"low":Math.abs(t-s)<o?"high":null;L={from:r==="low"?s:r==="high"?a:A(t),moved:false,before:[a,s],at:e.clientX};q.
setPointerCapture?.(e.pointerId);q.focus({preventScroll:true});e.preventDefault()});q.addEventListener("pointermove",
e=>{if(!L)return;if(Math.abs(e.clientX-L.at)>3)L.moved=true;if(L.moved){const t=A(Z(e));J(Math.min(L.from,t),Math.max(
L.from,t))}});const ee=e=>{if(!L)return;const{moved:t,before:a}=L;L=null;const s=[n.get("low"),n.get("high")];if(t&&(
s[0]!==a[0]||s[1]!==a[1])){$({low:s[0],high:s[1]});return}if(e.type==="pointercancel")J(...a);if(t||e.type===
"pointercancel")return;const o=q.querySelector("svg").getBoundingClientRect(),r=(e.clientY-o.top)*(O.width/o.width),i=
Z(e),l=Math.max(0,v.findIndex(e=>i<=e));const c=E.names.map((e,t)=>[Math.abs(O.Y(Math.max(E.density(t)[l],1e-300))-r),
e]).filter(([e])=>Number.isFinite(e)).sort((e,t)=>e[0]-t[0])[0];if(c&&c[0]<14)te(c[1])};q.addEventListener(
"pointerup",ee);q.addEventListener("pointercancel",ee);const te=e=>$({layer:e});q.onkeydown=e=>{const t={ArrowLeft:-1,
ArrowRight:1,PageDown:-10,PageUp:10}[e.key],a={ArrowUp:-1,ArrowDown:1}[e.key],[s,o]=[n.get("low"),n.get("high")];if(
!t&&!a||e.ctrlKey||e.metaKey)return;e.preventDefault();e.stopPropagation();if(a){const e=w[w.findIndex(e=>e.name===n.
get("layer"))+a];if(e)te(e.name);return}const r=e.shiftKey?[s,C(o,t)]:e.altKey?[C(s,t),o]:[C(s,t),C(o,t)];if(e.
shiftKey||e.altKey||k.indexOf(A(s))+t>=0&&k.indexOf(A(o))+t<k.length)G(...r)};const ne=e("section",{class:
"mn-section","aria-label":"Spectrum"},e("div",{class:"mn-side-head"},e("h3",{text:"Curvature mass by rank"}),e("span",
{class:"mn-note",text:`${g.by==="ekfac"?"EKFAC":"K-FAC"}, ${g.fisher} Fisher; drag to brush a band, click `+
`a line to choose its layer`})),_,e("div",{class:"mn-spectrum"},q,F),R,e("div",{class:"mn-controls"},r("Band from, %",
W),r("to, %",K),e("div",{},e("span",{class:"mn-label",text:"Bands of the paper"}),...V),e("label",{class:"mn-check"},
z,"in all layers"),e("label",{class:"mn-check"},U,"log rank"),r("Seed",M("seed",e("input",{type:"number",min:0,step:
1})))));const ae=()=>{for(const[e,t]of[[W,"low"],[K,"high"]])if(document.activeElement!==e||!L)e.value=Number((100*n.
get(t)).toFixed(2));for(const[e,[,t,a]]of n.get("presets").entries())V[e].setAttribute("aria-pressed",String(t===n.
get("low")&&a===n.get("high")));for(const e of F.querySelectorAll("[data-name]"))e.setAttribute("aria-pressed",String(
e.dataset.name===n.get("layer")))};const se=(t,n)=>e("button",{type:"button",class:"mn-plain","data-name":t.name,text:
n,title:t.name,"aria-label":n===String(t.block)?`${n}, ${t.matrix}`:null,onclick:()=>te(t.name)});const oe=w.length>
Q&&w.every(e=>e.block!==null);ne.classList.toggle("mn-many",oe);const re=[...new Set(w.map(e=>e.matrix))];F.
replaceChildren(...oe?re.map(t=>e("div",{class:"mn-line",role:"group","aria-label":t},e("span",{class:"mn-note",text:
t}),...w.filter(e=>e.matrix===t).map(e=>se(e,String(e.block))))):w.map((e,t)=>se(e,`${t+1}. ${e.block===null?e.name:
`block ${e.block}, ${e.matrix}`}`)));const ie=()=>{if(!h.isConnected)return;ae();_.hidden=!!E;q.parentElement.hidden=
!E;ke.files.hidden=!E;if(!E){const t=n.get("spectra").text;const a={class:"mn-bad",role:"alert",text:t};_.
replaceChildren(e("strong",t?a:{text:"Reading the spectrum …"}));return}const a=Math.max(280,q.clientWidth||600),s=
300;O=Y(b,E,v,{...S(),log:N},a,s);O.width=a;q.replaceChildren(O.root);const o=E.names.indexOf(n.get("layer")),r=E.
facts[o];t(R,r?`${n.get("layer")}: ${r.d_out} × ${r.d_in}, ${m(r.pairs,"pair")}; half of the mass in `+`${f(r.
half)} of them, nine tenths in ${f(r.most)}. Rank of A ${r.rank_a}, of G `+`${r.rank_g}, from ${m(r.tokens,
"token")}.`+`${r.deficient?" Fewer tokens than dimensions: part of the bottom has mass 0 for want of data.":""}`+(E.
names.length<E.of?` ${E.names.length} of ${E.of} layers read so far.`:""):E.names.length<E.of?`${E.names.
length} of ${E.of} layers read`:"");pe()};let le;const ce=()=>{cancelAnimationFrame(le);le=requestAnimationFrame(()=>{
ie();ve()})};const de=e("div",{"data-testid":"carries"}),he=e("span",{class:"mn-note"}),me=e("select",{"data-testid":
"side","aria-label":"Side of the layer",onchange:()=>pe()},o("output","what it adds to the layer’s output"),o("input",
"what the layer’s input has along it"));const ue=e("section",{class:"mn-section","data-testid":"carries-box",
"aria-label":"What the band carries"},e("div",{class:"mn-side-head"},e("h3",{text:"What the band carries"}),he),e(
"div",{class:"mn-controls"},r("Activation measured as",me)),de);const fe=e=>{const t=E?.names.indexOf(n.get(
"layer"))??-1;if(t<0)return null;const a=k.indexOf(A(n.get("low"))),s=k.indexOf(A(n.get("high")));return[...E[e](t).
subarray(a,s)].reduce((e,t)=>e+t,0)};const pe=()=>{const a=n.get("carries"),s=S(),o=a.fields&&Object.entries(a.
fields).every(([e,t])=>s[e]===t);ue.setAttribute("data-status",o?a.status:"stale");t(he,`band ${B(s.low,s.
high)} of ${s.everywhere?`all ${w.length} layers`:s.layer}`);if(o&&a.status==="error"){de.replaceChildren(e("div",{
class:"mn-error",role:"alert","data-testid":"carries-error"},e("strong",{text:a.title}),e("pre",{text:a.text})));
return}const r=o&&a.status==="ready"?a.rows:[];de.replaceChildren(...I(r,{before:{mass:fe("mass"),energy:fe(
"energy")},everywhere:s.everywhere,s:me.value,info:g,width:Math.max(280,Math.round(de.clientWidth||700)),waiting:o&&a.
of>1?` ${a.done} of ${a.of} layers`:""}))};const ge=e("div",{"data-testid":"taken"}),be=e("span",{class:"mn-note"});
const ye=e("section",{class:"mn-section","aria-label":"Without the band"},e("div",{class:"mn-side-head"},e("h3",{text:
"Without the band"}),be),e("div",{class:"mn-controls"},u),p,ge);const ve=()=>{const a=n.get("taken"),s=a.fields&&
Object.entries(a.fields).every(([e,t])=>e==="layer"&&a.fields.everywhere?true:n.get(e)===t),o=["running","stopping"].
includes(n.get("status"));t(be,a.tables?a.what:"");if(!a.tables){ge.replaceChildren(e("p",{class:"mn-note",text:
"Only this band is removed from the weights; recitation and clean loss are measured without it "+
"and beside random bases that remove the same norm. Then the weights are put back."}));return}ge.replaceChildren(...H(
a,s||o,g.level))};const xe=()=>`curvature_${n.get("everywhere")?"all":n.get("layer")}`.replace(/[^\w-]+/g,"_");
const we=()=>{let e="layer,from,to,mass_over_mean,share_of_mass,share_of_squared_weight\r\n";for(const[t,n]of E.names.
entries())for(const[a,s]of v.entries())e+=d([n,k[a],s,E.density(t)[a],E.mass(t)[a],E.energy(t)[a]]);return e};
const ke=j(n,(e,t)=>l(e,{...t,fields:S()}),{stem:xe,figure:()=>x(Y(y,E,v,{...S(),log:N},620,340).root),table:we,
example:"band.zarr, band.nc, band.csv, band.parquet"});t(ke.files.querySelector("[data-testid=csv]"),
"Spectrum (CSV)");t(ke.files.querySelector(".mn-saverow .mn-label"),
"Save on the kernel’s machine what the band’s removal did, as");ke.files.querySelector(".mn-buttons").append(e(
"button",{type:"button",class:"mn-button","data-testid":"json",text:"Band (JSON)",onclick:()=>a(`${xe()}.json`,
"application/json",JSON.stringify({model:g.name,by:g.by,fisher:g.fisher,level:g.level,...S(),carries:n.get("carries").
rows??[],removal:n.get("taken").tables??null},null,1))}));c(["spectra"],()=>{E=D(n.get("spectra"),v.length);ie()});c([
"layer","everywhere","low","high","seed"],ce);c(["carries"],pe);c(["taken"],ve);c(["status","progress","error"],()=>{
ve()});const $e=i.open(s,{parts:[ne,ue,ye],drawer:ke,box:ne,draw:ie});E=D(n.get("spectra"),v.length);ie();ve();
return $e}var ee={render:Z};export{ee as default};
