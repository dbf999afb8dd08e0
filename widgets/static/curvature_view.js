// Built by npm run build from 15 files, sha256 d41267d1bf6f681ee273e76ee3359e0a46eaaf25e8bb54198cb690e2ca7794f4
const e=(e,t={},...n)=>{const a=document.createElement(e);for(const[e,n]of Object.entries(t)){if(n===null||n===
undefined||n===false)continue;if(e==="text")a.textContent=n;else if(e.startsWith("on"))a.addEventListener(e.slice(2),
n);else if(e==="value")a.value=n;else a.setAttribute(e,n===true?"":n)}a.append(...n.filter(e=>e!==null&&e!==
undefined));if(a.matches("input, select, textarea, button, summary, [tabindex]"))a.setAttribute(
"data-lm-suppress-shortcuts","true");return a};const t=(e,t)=>{if(e.textContent!==t)e.textContent=t};const n=(e,t,n)=>
{let a=0;const s=new ResizeObserver(()=>{const s=e.isConnected?t.clientWidth:0,r=Math.abs(s-a)>4;a=s;if(!s)return;if(
r)n();e.setAttribute("data-ready","true")});s.observe(t);return()=>s.disconnect()};const a=(t,n,a)=>{const s=URL.
createObjectURL(a instanceof Blob?a:new Blob([a],{type:n}));const r=e("a",{href:s,download:t});document.body.append(
r);r.click();r.remove();setTimeout(()=>URL.revokeObjectURL(s),1e4)};const s=async(e,t)=>{try{await navigator.
clipboard.writeText(e)}catch{t.focus();t.select();document.execCommand("copy")}};const r=(t,n)=>e("option",{value:t,
text:n});const o=(t,n,a)=>e("label",{class:"mn-field"},e("span",{class:"mn-label",text:t}),n,null);const i=(t,n,a)=>e(
"div",{class:"mn-error",role:"alert","data-testid":a},e("strong",{text:t}),e("pre",{text:n}));const l=(e,t)=>{e.
append(t);t.addEventListener("pointerdown",e=>{const t=e.button===0&&e.target.closest("button");if(!t||t.
disabled)return;const n=a=>{if(a.pointerId!==e.pointerId)return;document.removeEventListener("pointerup",n,true);
document.removeEventListener("pointercancel",n,true);const s=Math.hypot(a.clientX-e.clientX,a.clientY-e.clientY)<6;if(
a.type==="pointerup"&&s&&!t.contains(a.target)&&t.isConnected)t.click()};document.addEventListener("pointerup",n,
true);document.addEventListener("pointercancel",n,true)})};const c=t=>{if(!t||!/^[\w-]+$/.test(t))return()=>{};
const n=e("style",{text:`.jp-OutputArea-child:has(.mnemoscope-static-${t}), .mnemoscope-static-${t} { display: none `+
`!important; }`});document.head.append(n);return()=>n.remove()};const d=e=>{if(e==="")return"∅";return e.replace(/ /g,
"·").replace(/\r?\n/g,"⏎").replace(/\t/g,"⇥").replace(
/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,e=>`‹${e.codePointAt(0).toString(16).
padStart(4,"0")}›`)};const h=e=>e.map(e=>typeof e==="string"?`"${e.replace(/"/g,'""')}"`:Number.isNaN(e)?"":String(
e)).join(",")+"\r\n";const m=e=>e===null||e===undefined||Number.isNaN(e);const u=(e,t)=>`${e.toLocaleString(
"en")} ${t}${e===1?"":"s"}`;const f=e=>{if(m(e))return"–";const t=Math.abs(e);return(t&&(t<1e-4||t>=1e6)?e.
toExponential(1):String(Number(e.toPrecision(3)))).replace(/-/g,"−")};const p=e=>m(e)?"–":`${f(100*e)} %`;const g=(e,
t,n=f)=>m(e)||m(t)?"":`${n(e)} to ${n(t)}`;const b=e=>d(e).replace(/·/g," ");const y={text:"var(--mn-text)",muted:
"var(--mn-muted)",line:"var(--mn-line)",accent:"var(--mn-accent)",other:"var(--mn-other)",page:"var(--mn-bg)"};
const v={text:"#1c1c1c",muted:"#555555",line:"#d0d0d0",accent:"#0b61b8",other:"#b35900",page:"#ffffff"};const x=(e,t={
},...n)=>{const a=document.createElementNS("http://www.w3.org/2000/svg",e);for(const[e,n]of Object.entries(t))if(!m(
n))a.setAttribute(e,n);a.append(...n);return a};const w=e=>`fill:${e.text};stroke:${e.
page};stroke-width:3px;paint-order:stroke`;const k=e=>({text:(new XMLSerializer).serializeToString(e),width:Number(e.
getAttribute("width")),height:Number(e.getAttribute("height"))});const $=(e,t,n)=>{const a=(t-e)/Math.max(1,n)||1,s=
10**Math.floor(Math.log10(a)),r=s*([1,2,5].find(e=>e*s>=a*.999)??10),o=[];for(let n=Math.ceil(e/r-1e-9);n*r<=t+1e-9*r;
n++)o.push(Number((n*r).toPrecision(12))||0);return o};const M=(e,{width:t,height:n,title:a,label:s,x:r,y:o,left:i=
54})=>{const l=t-14,c=a?30:14,d=n-38,h=(t,n)=>x("text",{style:`fill:${e.muted}`,"font-size":10.5,...t},n);const m=(e,
t,n)=>{const a=e.map??(e=>e),s=a(e.low),r=a(e.high);return e=>t+(a(e)-s)/(r-s||1)*(n-t)};const u=m(r,i,l),f=m(o,d,c);
const p=x("svg",{xmlns:"http://www.w3.org/2000/svg",viewBox:`0 0 ${t} ${n}`,width:t,height:n,role:"img","aria-label":
s,"font-family":"system-ui, DejaVu Sans, Arial, sans-serif","font-size":11});if(a)p.append(h({x:2,y:13,"font-size":12,
"font-weight":600,style:`fill:${e.text}`},a));for(const[t,n]of o.marks)p.append(x("line",{x1:i,x2:l,y1:f(t),y2:f(t),
style:`stroke:${e.line}`,"stroke-width":.7}),h({x:i-6,y:f(t)+3.5,"text-anchor":"end"},n));let g=-99;for(const[e,
n]of r.marks){const a=u(e),s=n.length*3+3;if(a-s<g)continue;g=a+s;p.append(h({x:Math.min(a,t-s-2),y:d+14,
"text-anchor":"middle"},n))}p.append(x("line",{x1:i,x2:l,y1:d,y2:d,style:`stroke:${e.muted}`}),h({x:(i+l)/2,y:n-5,
"text-anchor":"middle"},r.title),h({transform:`translate(11 ${(c+d)/2}) rotate(-90)`,"text-anchor":"middle"},o.
title));return{root:p,X:u,Y:f,left:i,right:l,top:c,bottom:d,words:h}};const S=(...t)=>e("thead",{},e("tr",{},...t.map(
t=>e("th",{scope:"col",text:t}))));const A=(t,n,a)=>e("div",{class:"mn-tablebox"},e("table",{class:"mn-table",
"data-testid":t},S(...n),e("tbody",{},...a.map(([t,...n])=>e("tr",{},e("th",{scope:"row",text:t}),...n.map(t=>Array.
isArray(t)?e("td",{},e("span",{text:t[0]}),t[1]?e("span",{class:"mn-why",text:t[1]}):null):e("td",{text:t})))))));
const E=e=>[1,3,5].map(t=>parseInt(e.slice(t,t+2),16));const C=([e,t,n])=>(.2126*e+.7152*t+.0722*n)/255;const L=e=>{
const t=e.map(E),n=t.length-1;return e=>{const a=Math.min(1,Math.max(0,e))*n,s=Math.min(n-1,Math.floor(a)),r=a-s;
return t[s].map((e,n)=>e+r*(t[s+1][n]-e))}};const O={light:{diverging:L(["#0a3a75","#2f7fc1","#a6cdec","#f9f9f7",
"#fbc98f","#dd7f1d","#853703"]),single:L(["#f9f9f7","#b9d8ee","#5a9fd4","#1f62a6","#08264f"]),missing:[214,214,214],
ink:"#1c1c1c"},dark:{diverging:L(["#a9d6ff","#4a9be0","#22507d","#202328","#7a4515","#dd8430","#ffd0a0"]),single:L([
"#202328","#1d4a73","#2f7fc1","#7cbcf0","#e6f4ff"]),missing:[78,82,88],ink:"#f2f2f2"}};const N=t=>{const n=
getComputedStyle(t.closest(".mnemoscope")??t);const a=(e,t)=>n.getPropertyValue(e).trim()||t;const s=e("canvas",{
width:1,height:1}).getContext("2d",{willReadFrequently:true});s.fillStyle="#ffffff";s.fillStyle=n.backgroundColor;s.
fillRect(0,0,1,1);const r=[...s.getImageData(0,0,1,1).data].slice(0,3),o=C(r)<.4;const i=o?O.dark:O.light;return{dark:
o,...i,page:r,text:n.color,muted:a("--mn-muted","#666"),accent:a("--mn-accent","#0b6bcb"),background:n.
backgroundColor,font:a("--mn-font","system-ui, sans-serif"),mono:a("--mn-mono","monospace")}};const j=e=>{const t=
new MutationObserver(()=>requestAnimationFrame(e));for(const e of[document.documentElement,document.body])t.observe(e,
{attributes:true,attributeFilter:["class","style","data-jp-theme-name","data-jp-theme-light",
"data-vscode-theme-kind"]});const n=matchMedia("(prefers-color-scheme: dark)");n.addEventListener("change",e);return(
)=>{t.disconnect();n.removeEventListener("change",e)}};const _=(t,n=3)=>new Promise((a,s)=>{const r=new Image;r.
onload=()=>{const s=e("canvas",{width:t.width*n,height:t.height*n});const o=s.getContext("2d");o.scale(n,n);o.
drawImage(r,0,0);s.toBlob(a,"image/png")};r.onerror=()=>s(new Error("the browser could not draw the figure"));r.src=
"data:image/svg+xml;charset=utf-8,"+encodeURIComponent(t.text)});const T=e=>{if(!e)return new Float32Array(0);const t=
e instanceof ArrayBuffer?new DataView(e):e;const n=t.byteOffset%4?t.buffer.slice(t.byteOffset,t.byteOffset+t.
byteLength):t.buffer;return new Float32Array(n,t.byteOffset%4?0:t.byteOffset,Math.floor(t.byteLength/4))};const F=e=>{
const t=[];return{undo:t,send:(t,n={})=>e.send({type:t,...n}),listen:(n,a)=>{for(const s of n){e.on(`change:${s}`,a);
t.push(()=>e.off(`change:${s}`,a))}},set:t=>{for(const[n,a]of Object.entries(t))e.set(n,a);e.save_changes()}}};
const q=(t,n,a)=>{const s={},o={range:true,number:true};const i=(e,n)=>{const a=typeof t.get(e);return a==="boolean"?
n.checked:a!=="number"?n.value:n.value===""?NaN:Number(n.value)};const l=(e,t)=>{if(e.type==="checkbox")e.checked=t;
else e.value=t};const c=(e,r)=>{s[e]=r;r.setAttribute("data-testid",e);let c,d,h=0;const m=()=>{clearTimeout(d);
const n=h-Date.now();if(n>0){d=setTimeout(m,n);return}if(i(e,r)!==t.get(e)){l(r,t.get(e));r.dispatchEvent(new Event(
"pulled"))}};m();n([e],m);const u=()=>{clearTimeout(c);const n=i(e,r);if(!Number.isNaN(n)&&n!==t.get(e))a({[e]:n})};r.
addEventListener("change",u);if(r.tagName!=="SELECT"&&r.type!=="checkbox")r.addEventListener("input",()=>{
clearTimeout(c);if(o[r.type]){h=Date.now()+700;u()}else c=setTimeout(u,350)});r.flush=u;return r};return{inputs:s,
bound:c,shown:()=>Object.fromEntries(Object.entries(s).map(([e,t])=>[e,i(e,t)]).filter(([,e])=>!Number.isNaN(e))),
flush:()=>{for(const e of Object.values(s))e.flush()},area:(t,n={})=>c(t,e("textarea",{rows:2,spellcheck:"false",
autocapitalize:"off",...n})),line:(t,n)=>c(t,e("input",{type:"text",spellcheck:"false",autocomplete:"off",placeholder:
n})),choose:(t,n)=>c(t,e("select",{},...n.map(([e,t])=>r(e,t))))}};const R=(t,n,a,s="")=>e("button",{type:"button",
class:`mn-button ${s}`,"data-testid":t,text:n,onclick:a});const P={svg:"Figure (SVG)",png:"Figure (PNG)",csv:
"Data (CSV)",save:"Save the labelled data on the kernel’s machine as"};const X=(n,r,{stem:i,figure:l,table:c,example:
d,labels:h={},before:m=[],after:u=[]})=>{const f={...P,...h};const p=e("textarea",{class:"mn-code",readonly:true,rows:
12,spellcheck:"false","aria-label":"Python that reproduces this view","data-testid":"code"});const g=e("input",{type:
"text","data-testid":"path",placeholder:d,spellcheck:"false"});const b=e("div",{class:"mn-note","data-testid":"saved",
role:"status"}),y=e("input",{type:"checkbox","data-testid":"overwrite"});const v=()=>r("save",{path:g.value,overwrite:
y.checked});g.onkeydown=e=>{if(e.key==="Enter")v()};const x=async e=>{const n=e.currentTarget;await s(p.value,p);t(n,
"Copied");setTimeout(()=>t(n,"Copy"),1500)};const w=e("div",{},e("div",{class:"mn-buttons"},...m,R("svg",f.svg,()=>a(
`${i()}.svg`,"image/svg+xml",l().text)),R("png",f.png,async()=>a(`${i()}.png`,"image/png",await _(l()))),R("csv",f.
csv,()=>a(`${i()}.csv`,"text/csv",c())),...u),e("div",{class:"mn-saverow"},o(f.save,g),R("save","Save",v),e("label",{
class:"mn-check"},y,"replace what is there")),b);const k=e("details",{class:"mn-more","data-testid":"export"},e(
"summary",{text:"Export and code"}),w,e("div",{class:"mn-side-head"},e("span",{class:"mn-label",text:
"Python that reproduces this view"}),R("copy","Copy",x,"mn-small")),p);const $=()=>{const e=n.get("saved");t(b,e.
text??"");b.classList.toggle("mn-bad",e.ok===false);p.value=n.get("code");p.rows=p.value.split("\n").length+1};return{
element:k,files:w,draw:$}};const D=(t,{send:n,listen:a})=>{const s=e("select",{"data-testid":"examples","aria-label":
"Example shown",onchange:()=>n("example",{number:Number(s.value)})});const o=e("label",{class:"mn-examples"},e("span",
{class:"mn-note",text:"Example"}),s);const i=()=>{const{names:e=[],own:n=false,chosen:a=null}=t.get("examples");o.
hidden=e.length+n<1||e.length===1&&!n&&a===0;s.replaceChildren(...a===null?[r("","choose one …")]:[],...e.map((e,t)=>
r(String(t),e)),...n?[r("-1","your last input")]:[]);s.value=a===null?"":String(a)};a(["examples"],i);i();return o};
const Y=(n,a,{send:s,listen:r},{start:o,label:i,help:l,stop:c,unit:d})=>{const h=e("button",{class:
"mn-button mn-primary",type:"button","data-testid":"run",text:i,title:`${l} (Ctrl+Enter)`,onclick:o});const m=e(
"button",{class:"mn-button",type:"button","data-testid":"stop",text:"Stop",title:c,onclick:()=>s("stop")});const u=e(
"div",{class:"mn-progress-fill"}),f=e("span",{class:"mn-note","data-testid":"progress",role:"status"});const p=e(
"div",{class:"mn-progress",role:"progressbar","aria-label":d,"aria-valuemin":0,"aria-valuemax":100},u);const g=e(
"div",{class:"mn-error",role:"alert","data-testid":"error",hidden:true});const b=()=>{const s=n.get("status"),r=n.get(
"progress"),o=r.total?Math.round(100*r.done/r.total):0,i=n.get("error");m.disabled=s!=="running";a.setAttribute(
"data-status",s);p.hidden=s!=="running"&&s!=="stopping";u.style.width=`${o}%`;p.setAttribute("aria-valuenow",o);t(f,r.
text??"");g.hidden=!i.text;g.replaceChildren(...i.text?[e("strong",{text:i.title}),e("pre",{text:i.text})]:[])};r([
"status","progress","error"],b);b();const y=e("div",{class:"mn-run"},h,m,e("div",{class:"mn-status"},p,f));return{run:
h,row:y,error:g}};const B=(t,{title:a,testid:s,name:r,kind:o,data:i,start:d,label:h="Run",help:m,stop:u,unit:f})=>{
const p=F(t);const g=e("span",{class:"mn-chip","data-testid":"model",text:i??t.get("model_info").text});const b=e(
"div",{class:`mnemoscope ${o}`,"data-testid":s,"data-lm-suppress-shortcuts":"true",role:"region","aria-label":r});
const{run:y,row:v,error:x}=Y(t,b,p,{start:d,label:h,help:m,stop:u,unit:f});b.addEventListener("keydown",e=>{if(e.
key!=="Enter"||!(e.ctrlKey||e.metaKey))return;e.preventDefault();e.stopPropagation();y.click()});const w=(s,{parts:r,
drawer:o,box:i,draw:d})=>{const h=e("header",{class:"mn-header"},e("h2",{text:a}),e("div",{class:"mn-about"},D(t,p),
g));b.append(h,...r.filter(e=>e),o.element);l(s,b);const m=()=>{b.setAttribute("data-dark",N(b).dark);d()};p.listen([
"saved","code"],o.draw);p.undo.push(j(m),n(b,i,m),c(t.get("static_key")));o.draw();return()=>{for(const e of p.undo)e(
)}};return{...p,root:b,line:g,run:y,row:v,error:x,open:w}};const W=.012,I=3,K=14;const z=(e,t)=>{let n=null;const a=
n=>{const a=e.querySelector("svg").getBoundingClientRect(),s=t.chart().width/a.width;return{share:t.chart().share((n.
clientX-a.left)*s),y:(n.clientY-a.top)*s}};e.addEventListener("pointerdown",s=>{if(!t.chart()||s.button)return;
const r=a(s).share,[o,i]=t.band(),l=Math.abs(r-o)<W?i:Math.abs(r-i)<W?o:t.near(r);n={from:l,moved:false,before:[o,i],
at:s.clientX};e.setPointerCapture?.(s.pointerId);e.focus({preventScroll:true});s.preventDefault()});e.
addEventListener("pointermove",e=>{if(!n)return;if(Math.abs(e.clientX-n.at)>I)n.moved=true;if(n.moved){const s=t.near(
a(e).share);t.preview(Math.min(n.from,s),Math.max(n.from,s))}});const s=e=>{const{share:n,y:s}=a(e),r=t.spectra(),o=
Math.max(0,t.ends.findIndex(e=>n<=e));const i=r.names.map((e,n)=>[Math.abs(t.chart().Y(Math.max(r.density(n)[o],
1e-300))-s),e]).filter(([e])=>Number.isFinite(e)).sort((e,t)=>e[0]-t[0])[0];if(i&&i[0]<K)t.choose(i[1])};const r=e=>{
if(!n)return;const{moved:a,before:r}=n,[o,i]=t.band();n=null;if(a&&(o!==r[0]||i!==r[1]))t.set(o,i);else if(e.type===
"pointercancel")t.preview(...r);else if(!a)s(e)};e.addEventListener("pointerup",r);e.addEventListener("pointercancel",
r);e.onkeydown=e=>{const n={ArrowLeft:-1,ArrowRight:1,PageDown:-10,PageUp:10}[e.key],a={ArrowUp:-1,ArrowDown:1}[e.
key],[s,r]=t.band(),{stops:o,near:i,step:l}=t;if(!n&&!a||e.ctrlKey||e.metaKey)return;e.preventDefault();e.
stopPropagation();if(a){t.turn(a);return}const c=e.shiftKey?[s,l(r,n)]:e.altKey?[l(s,n),r]:[l(s,n),l(r,n)],d=o.
indexOf(i(s))+n>=0&&o.indexOf(i(r))+n<o.length;if(e.shiftKey||e.altKey||d)t.set(...c)};return{dragging:()=>!!n}};
const U={kfac:"curvature",random:"random bases",svd:"singular vectors"};const V=(e,t)=>`${f(100*e)}–${f(100*t)} %`;
const G=(e,t)=>{if(!e?.names)return null;const n={...e};for(const a of["density","mass","energy"]){const s=T(e[a]);n[
a]=e=>s.subarray(e*t,(e+1)*t)}return n};const J=(e,t,n,a,s,r)=>{const{layer:o,everywhere:i,low:l,high:c,log:d}=a,h=[0,
...n.slice(0,-1)],m=n.map((e,t)=>d?Math.sqrt(Math.max(h[t],e/3)*e):(h[t]+e)/2);let p=1,g=1;t.names.forEach((e,n)=>{
for(const e of t.density(n))if(e>0&&Number.isFinite(e)){p=Math.max(p,e);g=Math.min(g,e)}});g=Math.max(g,p*1e-14);
const b=Math.ceil(Math.log10(p/g)),y=Math.max(1,Math.ceil(b/6)),v=[];for(let e=Math.floor(Math.log10(g));e<=Math.ceil(
Math.log10(p));e+=1)if(e%y===0&&10**e>=g*.8&&10**e<=p*1.3)v.push([10**e,e>=-2&&e<4?String(10**e):`1e${e}`.replace("-",
"−")]);const k=t.names.indexOf(o),$=d?n[0]/3:0,S=M(e,{width:s,height:r,left:60,label:`Curvature mass by rank of ${u(t.
names.length,"layer")}; ${i?"all layers":o} `+`chosen, band ${V(l,
c)}. Arrow keys move the band, Shift with them its end.`,x:{low:$,high:1,map:d?Math.log:null,marks:(d?[.001,.01,.1,
.25,.5,1]:[0,.1,.25,.5,.75,1]).map(e=>[e,`${f(100*e)} %`]),title:
"rank of the pair of eigenvectors, % of all pairs, largest mass first"},y:{low:g*.7,high:p*1.5,map:Math.log,marks:v,
title:"mass of a pair, layer’s mean = 1"}});const A=S.X(Math.max(l,$)),E=S.X(c);S.root.append(x("rect",{x:A,width:
Math.max(1,E-A),y:S.top,height:S.bottom-S.top,style:`fill:${e.other};opacity:.16`,class:"mn-band"}));for(const t of[A,
E])S.root.append(x("line",{x1:t,x2:t,y1:S.top,y2:S.bottom,style:`stroke:${e.other}`,"stroke-width":1.8,
"stroke-dasharray":"5 3"}));S.root.append(S.words({x:Math.min(Math.max((A+E)/2,S.left+40),S.right-40),y:S.top+2,
"text-anchor":"middle","font-weight":600,style:w(e)},V(l,c)));const C=e=>{let n="",a="M";t.density(e).forEach((e,t)=>{
if(!(e>0))return;n+=`${a}${S.X(m[t]).toFixed(1)} ${S.Y(Math.max(e,g)).toFixed(1)}`;a="L"});return n};t.names.forEach((
t,n)=>{if(n!==k)S.root.append(x("path",{d:C(n),"data-layer":t,style:`fill:none;stroke:${i?e.accent:e.
muted};opacity:${i?.75:.45}`,"stroke-width":i?1.1:.9}))});if(k>=0)S.root.append(x("path",{d:C(k),"data-layer":o,style:
`fill:none;stroke:${e.accent}`,"stroke-width":2.4}));S.share=e=>{const t=Math.max(0,Math.min(1,(e-S.left)/(S.right-S.
left)));return d?t===0?0:$**(1-t):t};return S};const H=(e,t,n,a,s)=>{const r=(e,t)=>e[`${t}_${n}`],o=t.flatMap(e=>[
...r(e,"kfac"),...r(e,"random")]).filter(e=>!m(e)).concat([1]),i=.08*(Math.max(...o)-Math.min(...o))||.05,l=[1,2,5,10,
20].find(e=>t.length/e<=a/30)??50;const c=Math.min(...o)-i,d=Math.max(...o)+i,h=M(e,{width:a,height:s,title:
`Memorised over clean, ${n} of each layer`,label:`Activation of memorised over clean text in the band, by layer: `+
`${t.map(e=>`${e.layer} ${f(r(e,"kfac")[0])}`).join(", ")}.`,x:{low:-.6,high:t.length-.4,marks:t.map((e,t)=>[t,String(
t+1)]).filter(([e])=>!e||(e+1)%l===0),title:"layer, as listed"},y:{low:c,high:d,marks:$(c,d,5).map(e=>[e,f(e)]),title:
"ratio"}});const u=Math.min(6,.18*(h.X(1)-h.X(0)));h.root.append(x("line",{x1:h.left,x2:h.right,y1:h.Y(1),y2:h.Y(1),
style:`stroke:${e.muted}`,"stroke-dasharray":"2 3"}));t.forEach((t,n)=>{for(const[a,s,o]of[["random",e.other,u],[
"kfac",e.accent,-u]]){const[i,l,c]=r(t,a),d=h.X(n)+o;if(m(i))continue;const u=x("g",{style:`stroke:${s}`},x("title",{
},`${t.layer}, ${U[a]}: ${f(i)} ${g(l,c)}`));if(!m(l)&&!m(c))u.append(x("line",{x1:d,x2:d,y1:h.Y(l),y2:h.Y(c),
"stroke-width":1.3}));u.append(a==="kfac"?x("circle",{cx:d,cy:h.Y(i),r:3.2,style:`fill:${s}`}):x("rect",{x:d-3,y:h.Y(
i)-3,width:6,height:6,style:`fill:${e.page}`,"stroke-width":1.4}));h.root.append(u)}});return h.root};const Q=(t,{
before:n,everywhere:a,s:s,info:r,width:o,waiting:i})=>{const l=e=>e?[f(e[0]),g(e[1],e[2])]:["…",""];const c=[
"curvature mass","squared weight norm","activation, memorised over clean","same, band of random bases",
"same, band of singular vectors"],d=e=>[[p(e.mass),""],[p(e.energy),""],...["kfac","random","svd"].map(t=>l(e[
`${t}_${s}`]))];const h=t[0]??n,m=t.length>1?A("band",["layer",...c],t.map((e,t)=>[`${t+1}. ${e.layer}`,...d(e)])):A(
"band",["","value","interval"],a&&!t.length?[]:d(h).map(([e,t],n)=>[c[n],e,t]));const u=[e("p",{class:"mn-note",text:
`Above 1: memorised text uses the band more than clean text. ${f(100*r.level)} % `+`intervals, bootstrap over ${r.
n} memorised and ${r.clean} clean sequences; controls are `+`bands of equal width in other bases.`})];if(t.length>1){
u.unshift(e("div",{class:"mn-chart","data-testid":"ratios"},H(y,t,s,o,190)),e("div",{class:"mn-key"},e("span",{text:
"● curvature"}),e("span",{text:"□ random bases"})),e("details",{},e("summary",{text:`The ${t.
length} layers as a table`}),m))}else if(t.length||!a)u.unshift(m);if(!t.length)u.unshift(e("p",{class:"mn-note",role:
"status",text:`Reading the activations of both sets …${i}`}));return u};const Z=24;const ee=(t,n)=>{const a=t.length>
Z&&t.every(e=>e.block!==null);const s=(t,a)=>e("button",{type:"button",class:"mn-plain","data-name":t.name,text:a,
title:t.name,"aria-label":a===String(t.block)?`${a}, ${t.matrix}`:null,onclick:()=>n(t.name)});const r=n=>e("div",{
class:"mn-line",role:"group","aria-label":n},e("span",{class:"mn-note",text:n}),...t.filter(e=>e.matrix===n).map(e=>s(
e,String(e.block))));const o=e("div",{class:"mn-layers",role:"group","aria-label":"Layers","data-testid":"layers"},
...a?[...new Set(t.map(e=>e.matrix))].map(r):t.map((e,t)=>s(e,`${t+1}. ${e.block===null?e.name:`block ${e.block}, ${e.
matrix}`}`)));const i=e=>{for(const t of o.querySelectorAll("[data-name]"))t.setAttribute("aria-pressed",String(t.
dataset.name===e))};return{element:o,inLines:a,mark:i}};const te=e=>{if(!e?.items)return{tokens:[],items:[],made:()=>[
]};const t=T(e.made),n=e.items.map(e=>e.gold.length),a=n.reduce((e,t)=>e+t,0),s=a?t.length/a:0;const r=[];n.reduce((e,
t,n)=>{r[n]=e;return e+t*s},0);return{...e,made:(e,a)=>[...t.subarray(r[e]+a*n[e],r[e]+(a+1)*n[e])]}};const ne=(t,n,
a)=>{const s=(n,s)=>{const r=d(t.tokens[n]);if(!a||a[s]===n)return e("span",{text:r});return e("mark",{title:
`differs: in the data ${d(t.tokens[a[s]])}`},e("span",{class:"mn-hidden",text:"differs: "}),r)};return e("span",{
class:"mn-tokens"},...n.flatMap((t,n)=>[s(t,n),e("wbr")]))};const ae=(e,t)=>e.filter((e,n)=>e!==t[n]).length;const se=
(t,n,a,s)=>{const r=t.items[n],o=(t,n,a)=>e("tr",{},e("th",{scope:"row",text:t}),e("td",{},n),e("td",{class:"mn-why",
text:a??""}));return e("div",{class:"mn-text","data-testid":"text","data-what":r.what},e("div",{class:"mn-text-head"},
e("strong",{text:b(r.name)}),e("span",{class:"mn-note",text:` ${s}`})),e("table",{class:"mn-lines"},e("tbody",{},o(
"given",ne(t,r.given)),o("in the data",ne(t,r.gold)),...a.map(([a,s])=>{const i=t.made(n,s),l=ae(i,r.gold);return l?o(
a,ne(t,i,r.gold),`${l} of ${u(i.length,"token")} differ`):o(a,e("span",{class:"mn-note",text:
"as in the data, word for word"}))}))))};const re=(e,t)=>e.strict===0?`The unedited model recites none of the ${u(e.n,
"sequence")}${""} `+`word for word${e.loose>0?` (loosely: ${p(e.loose)})`:", nor loosely"}: what `+
`an edit takes away cannot be seen there. Choose text that it knows, a longer prefix or a shorter `+`suffix.`:"";
const oe=()=>e("p",{class:"mn-note"},"Tokens that differ from the data: ",e("span",{class:"mn-tokens"},e("mark",{text:
"boxed and underlined"})),".");const ie=(t,n,a)=>{const s=t.tables.unedited,r=(e,t,n)=>e?[n(e[t]),g(e[`${t}_low`],e[
`${t}_high`],n)]:"…",o=["","unedited","without the band","random bases, equal norm"],i=["unedited","removed",
"control"].map(e=>t.tables[e]);const l=t.texts?te(t.texts):null,[c,d]=t.hashes;return[...re(s)?[e("div",{class:
"mn-warning","data-testid":"none-recited",text:re(s)})]:[],...n?[]:[e("div",{class:"mn-warning","data-testid":"stale",
text:`What stands here is of ${t.what}; “Take it out” measures the band now brushed.`})],A("removal",o,[[
"recited word for word","strict",p],["recited loosely (75 % right)","loose",p],["edit distance, share of tokens",
"lev",p],["loss of the suffix, nats/token","nll",f]].map(([e,t,n])=>[e,...i.map(e=>r(e,t,n))]).concat([[
"clean loss, nats/token",...i.map(e=>e?[f(e.loss),""]:"…")],["its rise over unedited","–",...i.slice(1).map(e=>r(e,
"rise",f))],["nDCG@10 to unedited, clean text",...i.map(e=>e?[f(e.ndcg),""]:"…")]])),e("p",{class:"mn-note",text:`${u(
s.n,"memorised sequence")}, ${u(s.texts,"clean text")}; ${f(100*a)} `+
`% intervals, exact for shares recited, bootstrap for the others. `+`${t.removed?`The band holds ${p(t.
removed**2)} of the squared weight norm. `:""}`+(d?c===d?`Weight hash ${c.slice(0,12)} before and after: unchanged. `:
`Weight hash ${c.slice(0,12)} before, ${d.slice(0,12)} after: `+"the model was changed meanwhile. ":"")+
`A band that was chosen by looking here is to be tested on other text.`}),...l?[e("h4",{text:"Most changed texts"}),
oe(),...l.items.map((e,n)=>se(l,n,[["before",0],["without the band",1]],e.what==="clean"?
"clean text, half of it given":`loss of the suffix ${t.change[n]>0?"+":""}${f(t.change[n])} nats/token`))]:[]]};
function le({model:n,el:s}){const l=B(n,{title:"Loss curvature",testid:"curvature-view",name:"Curvature view",kind:
"mn-memory",label:"Take it out",help:"Take the band out, measure recitation and clean loss, and put it back",stop:
"Stop after the measurement in progress; the weights are restored",unit:"Measurements",start:()=>c("run",{fields:A(
)})});const{send:c,listen:d,root:m,row:f,error:g}=l;const b=n.get("model_info"),x=n.get("ends"),w=n.get("layers"),$=[
0,...x];const M=e=>{for(const[t,a]of Object.entries(e))n.set(t,a);c("move",{fields:{...A(),...e}});oe()};const{bound:
S}=q(n,d,M),A=()=>Object.fromEntries(["layer","everywhere","low","high","seed"].map(e=>[e,n.get(e)]));const E=e=>$.
reduce((t,n)=>Math.abs(n-e)<Math.abs(t-e)?n:t,0),C=(e,t)=>$[Math.max(0,Math.min($.length-1,$.indexOf(E(e))+t))];let L=
null,O=null,N=false;const j=e("div",{class:"mn-empty","data-testid":"empty"}),_=e("div",{class:"mn-chart mn-brush",
tabindex:"0",role:"group","data-testid":"spectrum","aria-label":
"Spectrum and band. Arrow keys left and right move the band, with Shift its end, with Alt its "+
"beginning; up and down choose the layer."});const T=e=>M({layer:e}),F=ee(w,T),P=e("p",{class:"mn-note","data-testid":
"facts"});const D=(t,a)=>{const s=e("input",{type:"number",min:0,max:100,step:1,"data-testid":t,"aria-label":a,
onchange:()=>{const e=E(Number(s.value)/100);H(...t==="low"?[e,n.get("high")]:[n.get("low"),e])}});return s};const Y=
D("low","Band begins at, %"),W=D("high","Band ends at, %"),I=S("everywhere",e("input",{type:"checkbox"})),K=e("input",
{type:"checkbox","data-testid":"log",onchange:()=>{N=K.checked;se()}});const U=n.get("presets").map(([e,t,n])=>R(
`preset-${t}`,e,()=>H(t,n),"mn-small"));const H=(e,t)=>{if(!(e<t)){ae();return}M({low:e,high:t})};const Z=(e,t)=>{if(
e<t){n.set("low",e);n.set("high",t);se()}};const te=z(_,{ends:x,stops:$,near:E,step:C,preview:Z,choose:T,set:H,chart:(
)=>O,spectra:()=>L,band:()=>[n.get("low"),n.get("high")],turn:e=>{const t=w[w.findIndex(e=>e.name===n.get("layer"))+
e];if(t)T(t.name)}});const ne=e("section",{class:"mn-section","aria-label":"Spectrum"},e("div",{class:"mn-side-head"},
e("h3",{text:"Curvature mass by rank"}),e("span",{class:"mn-note",text:`${b.by==="ekfac"?"EKFAC":"K-FAC"}, ${b.
fisher} Fisher; drag to brush a band, click `+`a line to choose its layer`})),j,e("div",{class:"mn-spectrum"},_,F.
element),P,e("div",{class:"mn-controls"},o("Band from, %",Y),o("to, %",W),e("div",{},e("span",{class:"mn-label",text:
"Bands of the paper"}),...U),e("label",{class:"mn-check"},I,"in all layers"),e("label",{class:"mn-check"},K,
"log rank"),o("Seed",S("seed",e("input",{type:"number",min:0,step:1})))));const ae=()=>{for(const[e,t]of[[Y,"low"],[W,
"high"]])if(document.activeElement!==e||!te.dragging())e.value=Number((100*n.get(t)).toFixed(2));for(const[e,[,t,
a]]of n.get("presets").entries())U[e].setAttribute("aria-pressed",String(t===n.get("low")&&a===n.get("high")));F.mark(
n.get("layer"))};ne.classList.toggle("mn-many",F.inLines);const se=()=>{if(!m.isConnected)return;ae();j.hidden=!!L;_.
parentElement.hidden=!L;we.files.hidden=!L;if(!L){const t=n.get("spectra").text;const a={class:"mn-bad",role:"alert",
text:t};j.replaceChildren(e("strong",t?a:{text:"Reading the spectrum …"}));return}const a=Math.max(280,_.clientWidth||
600),s=300;O=J(y,L,x,{...A(),log:N},a,s);O.width=a;_.replaceChildren(O.root);const r=L.names.indexOf(n.get("layer")),
o=L.facts[r];t(P,o?`${n.get("layer")}: ${o.d_out} × ${o.d_in}, ${u(o.pairs,"pair")}; half of the mass in `+`${p(o.
half)} of them, nine tenths in ${p(o.most)}. Rank of A ${o.rank_a}, of G `+`${o.rank_g}, from ${u(o.tokens,
"token")}.`+`${o.deficient?" Fewer tokens than dimensions: part of the bottom has mass 0 for want of data.":""}`+(L.
names.length<L.of?` ${L.names.length} of ${L.of} layers read so far.`:""):L.names.length<L.of?`${L.names.
length} of ${L.of} layers read`:"");ue()};let re;const oe=()=>{cancelAnimationFrame(re);re=requestAnimationFrame(()=>{
se();be()})};const le=e("div",{"data-testid":"carries"}),ce=e("span",{class:"mn-note"}),de=e("select",{"data-testid":
"side","aria-label":"Side of the layer",onchange:()=>ue()},r("output","what it adds to the layer’s output"),r("input",
"what the layer’s input has along it"));const he=e("section",{class:"mn-section","data-testid":"carries-box",
"aria-label":"What the band carries"},e("div",{class:"mn-side-head"},e("h3",{text:"What the band carries"}),ce),e(
"div",{class:"mn-controls"},o("Activation measured as",de)),le);const me=e=>{const t=L?.names.indexOf(n.get(
"layer"))??-1;if(t<0)return null;const a=$.indexOf(E(n.get("low"))),s=$.indexOf(E(n.get("high")));return[...L[e](t).
subarray(a,s)].reduce((e,t)=>e+t,0)};const ue=()=>{const e=n.get("carries"),a=A(),s=e.fields&&Object.entries(e.
fields).every(([e,t])=>a[e]===t);he.setAttribute("data-status",s?e.status:"stale");t(ce,`band ${V(a.low,a.
high)} of ${a.everywhere?`all ${w.length} layers`:a.layer}`);if(s&&e.status==="error"){le.replaceChildren(i(e.title,e.
text,"carries-error"));return}const r=s&&e.status==="ready"?e.rows:[];le.replaceChildren(...Q(r,{before:{mass:me(
"mass"),energy:me("energy")},everywhere:a.everywhere,s:de.value,info:b,width:Math.max(280,Math.round(le.clientWidth||
700)),waiting:s&&e.of>1?` ${e.done} of ${e.of} layers`:""}))};const fe=e("div",{"data-testid":"taken"}),pe=e("span",{
class:"mn-note"});const ge=e("section",{class:"mn-section","aria-label":"Without the band"},e("div",{class:
"mn-side-head"},e("h3",{text:"Without the band"}),pe),e("div",{class:"mn-controls"},f),g,fe);const be=()=>{const a=n.
get("taken"),s=a.fields&&Object.entries(a.fields).every(([e,t])=>e==="layer"&&a.fields.everywhere?true:n.get(e)===t),
r=["running","stopping"].includes(n.get("status"));t(pe,a.tables?a.what:"");if(!a.tables){fe.replaceChildren(e("p",{
class:"mn-note",text:"Only this band is removed from the weights; recitation and clean loss are measured without it "+
"and beside random bases that remove the same norm. Then the weights are put back."}));return}fe.replaceChildren(
...ie(a,s||r,b.level))};const ye=()=>`curvature_${n.get("everywhere")?"all":n.get("layer")}`.replace(/[^\w-]+/g,"_");
const ve=()=>{let e="layer,from,to,mass_over_mean,share_of_mass,share_of_squared_weight\r\n";for(const[t,n]of L.names.
entries())for(const[a,s]of x.entries())e+=h([n,$[a],s,L.density(t)[a],L.mass(t)[a],L.energy(t)[a]]);return e};
const xe=()=>JSON.stringify({model:b.name,by:b.by,fisher:b.fisher,level:b.level,...A(),carries:n.get("carries").rows??
[],removal:n.get("taken").tables??null},null,1);const we=X(n,(e,t)=>c(e,{...t,fields:A()}),{stem:ye,figure:()=>k(J(v,
L,x,{...A(),log:N},620,340).root),table:ve,example:"band.zarr, band.nc, band.csv, band.parquet",labels:{csv:
"Spectrum (CSV)",save:"Save on the kernel’s machine what the band’s removal did, as"},after:[R("json","Band (JSON)",(
)=>a(`${ye()}.json`,"application/json",xe()))]});d(["spectra"],()=>{L=G(n.get("spectra"),x.length);se()});d(["layer",
"everywhere","low","high","seed"],oe);d(["carries"],ue);d(["taken"],be);d(["status","progress","error"],()=>{be()});
const ke=l.open(s,{parts:[ne,he,ge],drawer:we,box:ne,draw:se});L=G(n.get("spectra"),x.length);se();be();
return ke}var ce={render:le};export{ce as default};
