// Built by npm run build from 19 files, sha256 b01ef4fafa6fca2bac9a37b4f296f02e9c045f10fd9279a635ef6e4c3047aade
const e=(e,t={},...n)=>{const s=document.createElement(e);for(const[e,n]of Object.entries(t)){if(n===null||n===
undefined||n===false)continue;if(e==="text")s.textContent=n;else if(e.startsWith("on"))s.addEventListener(e.slice(2),
n);else if(e==="value")s.value=n;else s.setAttribute(e,n===true?"":n)}s.append(...n.filter(e=>e!==null&&e!==
undefined));if(s.matches("input, select, textarea, button, summary, [tabindex]"))s.setAttribute(
"data-lm-suppress-shortcuts","true");return s};const t=(e,t)=>{if(e.textContent!==t)e.textContent=t};const n=(e,t,n)=>
{let s=0;const o=new ResizeObserver(()=>{const o=e.isConnected?t.clientWidth:0,r=Math.abs(o-s)>4;s=o;if(!o)return;if(
r)n();e.setAttribute("data-ready","true")});o.observe(t);return()=>o.disconnect()};const s=(t,n,s)=>{const o=URL.
createObjectURL(s instanceof Blob?s:new Blob([s],{type:n}));const r=e("a",{href:o,download:t});document.body.append(
r);r.click();r.remove();setTimeout(()=>URL.revokeObjectURL(o),1e4)};const o=async(e,t)=>{try{await navigator.
clipboard.writeText(e)}catch{t.focus();t.select();document.execCommand("copy")}};const r=(t,n)=>e("option",{value:t,
text:n});const a=(t,n,s)=>e("label",{class:"mn-field"},e("span",{class:"mn-label",text:t}),n,null);const i=({label:t,
title:n,beside:s=[],...o},...r)=>e("section",{class:"mn-section","aria-label":t,...o},e("div",{class:"mn-side-head"},
typeof n==="string"?e("h3",{text:n}):n,...s),...r);const l=(t,n,s={"data-testid":"empty"})=>e("div",{class:"mn-empty",
...s},e("strong",{text:t}),e("p",{text:n}));const c=(t,n,s)=>e("div",{class:"mn-error",role:"alert","data-testid":s},
e("strong",{text:t}),e("pre",{text:n}));const d=(t,n,...s)=>e("div",{class:"mn-field mn-slide"},e("span",{class:
"mn-label"},t,n),...s);let h=0;const u=e=>`mn-${e}-${++h}-${Math.random().toString(36).slice(2,7)}`;const f=(e,t)=>{e.
append(t);t.addEventListener("pointerdown",e=>{const t=e.button===0&&e.target.closest("button");if(!t||t.
disabled)return;const n=s=>{if(s.pointerId!==e.pointerId)return;document.removeEventListener("pointerup",n,true);
document.removeEventListener("pointercancel",n,true);const o=Math.hypot(s.clientX-e.clientX,s.clientY-e.clientY)<6;if(
s.type==="pointerup"&&o&&!t.contains(s.target)&&t.isConnected)t.click()};document.addEventListener("pointerup",n,
true);document.addEventListener("pointercancel",n,true)})};const p=t=>{if(!t||!/^[\w-]+$/.test(t))return()=>{};
const n=e("style",{text:`.jp-OutputArea-child:has(.mnemoscope-static-${t}), .mnemoscope-static-${t} { display: none `+
`!important; }`});document.head.append(n);return()=>n.remove()};const m=e=>{if(e==="")return"∅";return e.replace(/ /g,
"·").replace(/\r?\n/g,"⏎").replace(/\t/g,"⇥").replace(
/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,e=>`‹${e.codePointAt(0).toString(16).
padStart(4,"0")}›`)};const g=(e,t)=>[...e].length>t?[...e].slice(0,t-1).join("")+"…":e;const x=e=>{if(e===null||e===
undefined||Number.isNaN(e))return"no value";if(!Number.isFinite(e))return e>0?"∞":"−∞";const t=Math.abs(e);const n=
t===0?"0":t>=1e5||t<1e-4?t.toExponential(2):t>=100?t.toFixed(1):t>=1?t.toFixed(2):t.toFixed(3);return(e<0&&Number(
n)!==0?"−":"")+n};const y=e=>e.map(e=>typeof e==="string"?`"${e.replace(/"/g,'""')}"`:Number.isNaN(e)?"":String(e)).
join(",")+"\r\n";const w=e=>{let t=0;for(const n of e){const e=Math.abs(n);if(e>t&&Number.isFinite(e))t=e}return t};
const b=e=>e===null||e===undefined||Number.isNaN(e);const v=(e,t)=>`${e.toLocaleString("en")} ${t}${e===1?"":"s"}`;
const k=e=>{if(b(e))return"–";const t=Math.abs(e);return(t&&(t<1e-4||t>=1e6)?e.toExponential(1):String(Number(e.
toPrecision(3)))).replace(/-/g,"−")};const $=e=>b(e)?"–":`${k(100*e)} %`;const M=(e,t,n=k)=>b(e)||b(t)?"":`${n(
e)} to ${n(t)}`;const O={text:"var(--mn-text)",muted:"var(--mn-muted)",line:"var(--mn-line)",accent:
"var(--mn-accent)",other:"var(--mn-other)",page:"var(--mn-bg)"};const N={text:"#1c1c1c",muted:"#555555",page:
"#ffffff"};const A=(e,t={},...n)=>{const s=document.createElementNS("http://www.w3.org/2000/svg",e);for(const[e,
n]of Object.entries(t))if(!b(n))s.setAttribute(e,n);s.append(...n);return s};const S=(e,t,n)=>{const s=(t-e)/Math.max(
1,n)||1,o=10**Math.floor(Math.log10(s)),r=o*([1,2,5].find(e=>e*o>=s*.999)??10),a=[];for(let n=Math.ceil(e/r-1e-9);
n*r<=t+1e-9*r;n++)a.push(Number((n*r).toPrecision(12))||0);return a};const E=(e,{width:t,height:n,title:s,label:o,x:r,
y:a,left:i=54})=>{const l=t-14,c=s?30:14,d=n-38,h=(t,n)=>A("text",{style:`fill:${e.muted}`,"font-size":10.5,...t},n);
const u=(e,t,n)=>{const s=e.map??(e=>e),o=s(e.low),r=s(e.high);return e=>t+(s(e)-o)/(r-o||1)*(n-t)};const f=u(r,i,l),
p=u(a,d,c);const m=A("svg",{xmlns:"http://www.w3.org/2000/svg",viewBox:`0 0 ${t} ${n}`,width:t,height:n,role:"img",
"aria-label":o,"font-family":"system-ui, DejaVu Sans, Arial, sans-serif","font-size":11});if(s)m.append(h({x:2,y:13,
"font-size":12,"font-weight":600,style:`fill:${e.text}`},s));for(const[t,n]of a.marks)m.append(A("line",{x1:i,x2:l,y1:
p(t),y2:p(t),style:`stroke:${e.line}`,"stroke-width":.7}),h({x:i-6,y:p(t)+3.5,"text-anchor":"end"},n));let g=-99;for(
const[e,n]of r.marks){const s=f(e),o=n.length*3+3;if(s-o<g)continue;g=s+o;m.append(h({x:Math.min(s,t-o-2),y:d+14,
"text-anchor":"middle"},n))}m.append(A("line",{x1:i,x2:l,y1:d,y2:d,style:`stroke:${e.muted}`}),h({x:(i+l)/2,y:n-5,
"text-anchor":"middle"},r.title),h({transform:`translate(11 ${(c+d)/2}) rotate(-90)`,"text-anchor":"middle"},a.
title));return{root:m,X:f,Y:p,left:i,right:l,top:c,bottom:d,words:h}};const C=(...t)=>e("thead",{},e("tr",{},...t.map(
t=>e("th",{scope:"col",text:t}))));const L=(t,n,s)=>e("div",{class:"mn-tablebox"},e("table",{class:"mn-table",
"data-testid":t},C(...n),e("tbody",{},...s.map(([t,...n])=>e("tr",{},e("th",{scope:"row",text:t}),...n.map(t=>Array.
isArray(t)?e("td",{},e("span",{text:t[0]}),t[1]?e("span",{class:"mn-why",text:t[1]}):null):e("td",{text:t})))))));
const _=e=>[1,3,5].map(t=>parseInt(e.slice(t,t+2),16));const T=([e,t,n])=>`rgb(${Math.round(e)},${Math.round(
t)},${Math.round(n)})`;const P=([e,t,n])=>(.2126*e+.7152*t+.0722*n)/255;const j=e=>{const[t,n,s]=e.map(e=>e<=10.3?
e/3294.6:((e/255+.055)/1.055)**2.4);const o=.2126*t+.7152*n+.0722*s;return 1.05/(o+.05)>(o+.05)/.05?"#ffffff":
"#000000"};const z=e=>{const t=e.map(_),n=t.length-1;return e=>{const s=Math.min(1,Math.max(0,e))*n,o=Math.min(n-1,
Math.floor(s)),r=s-o;return t[o].map((e,n)=>e+r*(t[o+1][n]-e))}};const F={light:{diverging:z(["#0a3a75","#2f7fc1",
"#a6cdec","#f9f9f7","#fbc98f","#dd7f1d","#853703"]),single:z(["#f9f9f7","#b9d8ee","#5a9fd4","#1f62a6","#08264f"]),
missing:[214,214,214],ink:"#1c1c1c"},dark:{diverging:z(["#a9d6ff","#4a9be0","#22507d","#202328","#7a4515","#dd8430",
"#ffd0a0"]),single:z(["#202328","#1d4a73","#2f7fc1","#7cbcf0","#e6f4ff"]),missing:[78,82,88],ink:"#f2f2f2"}};const R=
t=>{const n=getComputedStyle(t.closest(".mnemoscope")??t);const s=(e,t)=>n.getPropertyValue(e).trim()||t;const o=e(
"canvas",{width:1,height:1}).getContext("2d",{willReadFrequently:true});o.fillStyle="#ffffff";o.fillStyle=n.
backgroundColor;o.fillRect(0,0,1,1);const r=[...o.getImageData(0,0,1,1).data].slice(0,3),a=P(r)<.4;const i=a?F.dark:F.
light;return{dark:a,...i,page:r,text:n.color,muted:s("--mn-muted","#666"),accent:s("--mn-accent","#0b6bcb"),
background:n.backgroundColor,font:s("--mn-font","system-ui, sans-serif"),mono:s("--mn-mono","monospace")}};const I=e=>
{const t=new MutationObserver(()=>requestAnimationFrame(e));for(const e of[document.documentElement,document.body])t.
observe(e,{attributes:true,attributeFilter:["class","style","data-jp-theme-name","data-jp-theme-light",
"data-vscode-theme-kind"]});const n=matchMedia("(prefers-color-scheme: dark)");n.addEventListener("change",e);return(
)=>{t.disconnect();n.removeEventListener("change",e)}};class B{constructor(t){this.canvas=e("canvas",{width:128,
height:8,"aria-hidden":"true"});this.low=e("span");this.middle=e("span");this.high=e("span");this.title=e("div",{
class:"mn-bar-title"});this.element=e("div",{class:"mn-bar",role:"img","data-testid":t},this.title,this.canvas,e(
"div",{class:"mn-bar-ends"},this.low,this.middle,this.high))}update({ramp:e,low:n,middle:s="",high:o,title:r}){
const a=this.canvas.getContext("2d");for(let t=0;t<128;t++){a.fillStyle=T(e(t/127));a.fillRect(t,0,1,8)}t(this.low,n);
t(this.middle,s);t(this.high,o);t(this.title,r);this.element.setAttribute("aria-label",
`Colour scale: ${r}, from ${n} to ${o}`)}}const D=(t,n=3)=>new Promise((s,o)=>{const r=new Image;r.onload=()=>{
const o=e("canvas",{width:t.width*n,height:t.height*n});const a=o.getContext("2d");a.scale(n,n);a.drawImage(r,0,0);o.
toBlob(s,"image/png")};r.onerror=()=>o(new Error("the browser could not draw the figure"));r.src=
"data:image/svg+xml;charset=utf-8,"+encodeURIComponent(t.text)});const q=e=>{if(!e)return new Float32Array(0);const t=
e instanceof ArrayBuffer?new DataView(e):e;const n=t.byteOffset%4?t.buffer.slice(t.byteOffset,t.byteOffset+t.
byteLength):t.buffer;return new Float32Array(n,t.byteOffset%4?0:t.byteOffset,Math.floor(t.byteLength/4))};const U=e=>{
const t=[];return{undo:t,send:(t,n={})=>e.send({type:t,...n}),listen:(n,s)=>{for(const o of n){e.on(`change:${o}`,s);
t.push(()=>e.off(`change:${o}`,s))}},set:t=>{for(const[n,s]of Object.entries(t))e.set(n,s);e.save_changes()}}};
const K=(t,n,s)=>{const o={},a={range:true,number:true};const i=(e,n)=>{const s=typeof t.get(e);return s==="boolean"?
n.checked:s!=="number"?n.value:n.value===""?NaN:Number(n.value)};const l=(e,t)=>{if(e.type==="checkbox")e.checked=t;
else e.value=t};const c=(e,r)=>{o[e]=r;r.setAttribute("data-testid",e);let c,d,h=0;const u=()=>{clearTimeout(d);
const n=h-Date.now();if(n>0){d=setTimeout(u,n);return}if(i(e,r)!==t.get(e)){l(r,t.get(e));r.dispatchEvent(new Event(
"pulled"))}};u();n([e],u);const f=()=>{clearTimeout(c);const n=i(e,r);if(!Number.isNaN(n)&&n!==t.get(e))s({[e]:n})};r.
addEventListener("change",f);if(r.tagName!=="SELECT"&&r.type!=="checkbox")r.addEventListener("input",()=>{
clearTimeout(c);if(a[r.type]){h=Date.now()+700;f()}else c=setTimeout(f,350)});r.flush=f;return r};return{inputs:o,
bound:c,shown:()=>Object.fromEntries(Object.entries(o).map(([e,t])=>[e,i(e,t)]).filter(([,e])=>!Number.isNaN(e))),
flush:()=>{for(const e of Object.values(o))e.flush()},area:(t,n={})=>c(t,e("textarea",{rows:2,spellcheck:"false",
autocapitalize:"off",...n})),line:(t,n)=>c(t,e("input",{type:"text",spellcheck:"false",autocomplete:"off",placeholder:
n})),choose:(t,n)=>c(t,e("select",{},...n.map(([e,t])=>r(e,t))))}};const W=(t,n,s,o="")=>e("button",{type:"button",
class:`mn-button ${o}`,"data-testid":t,text:n,onclick:s});const H={svg:"Figure (SVG)",png:"Figure (PNG)",csv:
"Data (CSV)",save:"Save the labelled data on the kernel’s machine as"};const X=(n,r,{stem:i,figure:l,table:c,example:
d,labels:h={},before:u=[],after:f=[]})=>{const p={...H,...h};const m=e("textarea",{class:"mn-code",readonly:true,rows:
12,spellcheck:"false","aria-label":"Python that reproduces this view","data-testid":"code"});const g=e("input",{type:
"text","data-testid":"path",placeholder:d,spellcheck:"false"});const x=e("div",{class:"mn-note","data-testid":"saved",
role:"status"}),y=e("input",{type:"checkbox","data-testid":"overwrite"});const w=()=>r("save",{path:g.value,overwrite:
y.checked});g.onkeydown=e=>{if(e.key==="Enter")w()};const b=async e=>{const n=e.currentTarget;await o(m.value,m);t(n,
"Copied");setTimeout(()=>t(n,"Copy"),1500)};const v=e("div",{},e("div",{class:"mn-buttons"},...u,W("svg",p.svg,()=>s(
`${i()}.svg`,"image/svg+xml",l().text)),W("png",p.png,async()=>s(`${i()}.png`,"image/png",await D(l()))),W("csv",p.
csv,()=>s(`${i()}.csv`,"text/csv",c())),...f),e("div",{class:"mn-saverow"},a(p.save,g),W("save","Save",w),e("label",{
class:"mn-check"},y,"replace what is there")),x);const k=e("details",{class:"mn-more","data-testid":"export"},e(
"summary",{text:"Export and code"}),v,e("div",{class:"mn-side-head"},e("span",{class:"mn-label",text:
"Python that reproduces this view"}),W("copy","Copy",b,"mn-small")),m);const $=()=>{const e=n.get("saved");t(x,e.
text??"");x.classList.toggle("mn-bad",e.ok===false);m.value=n.get("code");m.rows=m.value.split("\n").length+1};return{
element:k,files:v,draw:$}};const Y=(t,{send:n,listen:s})=>{const o=e("select",{"data-testid":"examples","aria-label":
"Example shown",onchange:()=>n("example",{number:Number(o.value)})});const a=e("label",{class:"mn-examples"},e("span",
{class:"mn-note",text:"Example"}),o);const i=()=>{const{names:e=[],own:n=false,chosen:s=null}=t.get("examples");a.
hidden=e.length+n<1||e.length===1&&!n&&s===0;o.replaceChildren(...s===null?[r("","choose one …")]:[],...e.map((e,t)=>
r(String(t),e)),...n?[r("-1","your last input")]:[]);o.value=s===null?"":String(s)};s(["examples"],i);i();return a};
const G=(n,s,{send:o,listen:r},{start:a,label:i,help:l,stop:c,unit:d})=>{const h=e("button",{class:
"mn-button mn-primary",type:"button","data-testid":"run",text:i,title:`${l} (Ctrl+Enter)`,onclick:a});const u=e(
"button",{class:"mn-button",type:"button","data-testid":"stop",text:"Stop",title:c,onclick:()=>o("stop")});const f=e(
"div",{class:"mn-progress-fill"}),p=e("span",{class:"mn-note","data-testid":"progress",role:"status"});const m=e(
"div",{class:"mn-progress",role:"progressbar","aria-label":d,"aria-valuemin":0,"aria-valuemax":100},f);const g=e(
"div",{class:"mn-error",role:"alert","data-testid":"error",hidden:true});const x=()=>{const o=n.get("status"),r=n.get(
"progress"),a=r.total?Math.round(100*r.done/r.total):0,i=n.get("error");u.disabled=o!=="running";s.setAttribute(
"data-status",o);m.hidden=o!=="running"&&o!=="stopping";f.style.width=`${a}%`;m.setAttribute("aria-valuenow",a);t(p,r.
text??"");g.hidden=!i.text;g.replaceChildren(...i.text?[e("strong",{text:i.title}),e("pre",{text:i.text})]:[])};r([
"status","progress","error"],x);x();const y=e("div",{class:"mn-run"},h,u,e("div",{class:"mn-status"},m,p));return{run:
h,row:y,error:g}};const V=(t,{title:s,testid:o,name:r,kind:a,data:i,start:l,label:c="Run",help:d,stop:h,unit:u})=>{
const m=U(t);const g=e("span",{class:"mn-chip","data-testid":"model",text:i??t.get("model_info").text});const x=e(
"div",{class:`mnemoscope ${a}`,"data-testid":o,"data-lm-suppress-shortcuts":"true",role:"region","aria-label":r});
const{run:y,row:w,error:b}=G(t,x,m,{start:l,label:c,help:d,stop:h,unit:u});x.addEventListener("keydown",e=>{if(e.
key!=="Enter"||!(e.ctrlKey||e.metaKey))return;e.preventDefault();e.stopPropagation();y.click()});const v=(o,{parts:r,
drawer:a,box:i,draw:l})=>{const c=e("header",{class:"mn-header"},e("h2",{text:s}),e("div",{class:"mn-about"},Y(t,m),
g));x.append(c,...r.filter(e=>e),a.element);f(o,x);const d=()=>{x.setAttribute("data-dark",R(x).dark);l()};m.listen([
"saved","code"],a.draw);m.undo.push(I(d),n(x,i,d),p(t.get("static_key")));a.draw();return()=>{for(const e of m.undo)e(
)}};return{...m,root:x,line:g,run:y,row:w,error:b,open:v}};const J={absolute:"by size of the score",signed:
"by signed score",given:"given"};const Q=e=>e.filter(e=>!b(e));const Z=(e,t,n,s,o)=>{const r=t.lines[n]??Object.
values(t.lines)[0],a=t.sizes,i=Q(r.flatMap(e=>[e.f,...e.random])).concat([0,1]),l=Q(r.flatMap(e=>[e.f_low,e.f_high])).
concat(i),c=Math.max(Math.min(...i)-.5,Math.min(...l)),d=Math.min(Math.max(...i)+.5,Math.max(...l)),h=.06*(d-c);
const u=E(e,{width:s,height:o,label:`Faithfulness by share of edges kept, ${J[n]}: `+`${r.map((e,t)=>`${$(a[t])}: ${k(
e.f)}`).join(", ")}.`,x:{low:a[0]*.8,high:1.15,map:Math.log,marks:a.map(e=>[e,$(e)]),title:
"share of edges kept (log)"},y:{low:c-h,high:d+h,marks:S(c,d,5).map(e=>[e,k(e)]),title:"faithfulness f"}});const f=e=>
u.Y(Math.max(c-h,Math.min(d+h,e)));for(const t of[0,1])u.root.append(A("line",{x1:u.left,x2:u.right,y1:u.Y(t),y2:u.Y(
t),style:`stroke:${e.muted}`,"stroke-dasharray":"2 3"}));r.forEach((t,n)=>{const s=u.X(a[n])+3,o=Q(t.random);if(!o.
length)return;const r=A("g",{style:`stroke:${e.other}`,"data-line":"random"},A("title",{},`${v(o.length,
"random circuit")}: ${o.map(k).join(", ")}`),A("line",{x1:s,x2:s,y1:f(Math.min(...o)),y2:f(Math.max(...o)),
"stroke-width":1.2}));for(const t of o)r.append(A("rect",{x:s-2.5,y:f(t)-2.5,width:5,height:5,style:`fill:${e.page}`,
"stroke-width":1.3}));u.root.append(r)});const p=r.map((e,t)=>({x:u.X(a[t])-3,row:e})).filter(({row:e})=>!b(e.f));if(
p.length)u.root.append(A("path",{d:`M${p.map(({x:e,row:t})=>`${e.toFixed(1)} ${f(t.f).toFixed(1)}`).join("L")}`,style:
`fill:none;stroke:${e.accent}`,"stroke-width":1.6}));for(const{x:t,row:n}of p){const s=A("g",{style:`stroke:${e.
accent}`,"data-line":"circuit"},A("title",{},`${v(n.n_edges,"edge")}: ${k(n.f)} ${M(n.f_low,n.f_high)}`));if(!b(n.
f_low)&&!b(n.f_high))s.append(A("line",{x1:t,x2:t,y1:f(n.f_low),y2:f(n.f_high),"stroke-width":1.4}));s.append(A(
"circle",{cx:t,cy:f(n.f),r:3.8,style:`fill:${e.accent};stroke:${e.page}`}));u.root.append(s)}return u.root};const ee=(
e,t)=>L("curve-table",["kept","edges","on a path","f","random (least to most)","p","f of all others"],(e.lines[t]??
Object.values(e.lines)[0]).map((t,n)=>{const s=Q(t.random);return[$(e.sizes[n]),t.n_edges.toLocaleString("en"),t.
on_path.toLocaleString("en"),[k(t.f),M(t.f_low,t.f_high)],s.length?M(Math.min(...s),Math.max(...s)):"–",k(t.p),k(t.
complement)]}));const te=(e,t)=>{const n=e.areas[t]??{},s=t==="signed"?"CPR":"CMD",o=Q(n[`random_${s}`]??[]);const r=
b(n[s])?"":` ${s} ${k(n[s])}`+`${b(n[`${s}_low`])?"":` (${M(n[`${s}_low`],n[`${s}_high`])})`}`+`${o.length?
`, random circuits ${M(Math.min(...o),Math.max(...o))}`:""};`+`${s==="CPR"?" larger is better.":" 0 is best."}`;
return`f = 1: the circuit alone keeps the metric of all edges (${k(e.full)} ${e.unit}), 0: that of none `+`(${k(e.
empty)}); ${v(e.n,"pair")}, ${100*e.level} % intervals over pairs, `+`${v(e.controls,
"random circuit")} of each size beside; p counts those at least as faithful `+`(Monte Carlo).${r}`};const ne=[
"ranking","share","n_edges","on_path","f","f_low","f_high","random_least","random_most","p","complement"];const se=e=>
Object.entries(e.lines).flatMap(([t,n])=>n.map((n,s)=>{const o=Q(n.random),r=o.length?[Math.min(...o),Math.max(...o)]:
[NaN,NaN];return[t,e.sizes[s],n.n_edges,n.on_path,n.f??NaN,n.f_low??NaN,n.f_high??NaN,...r,n.p??NaN,n.complement??
NaN]}));const oe=7;const re=14;const ae=(e,t)=>e.byPosition?de(e,t):le(e,t);const ie=(e,t,n,s)=>{const o=[];for(let r=
0;r<e.layers;r+=Math.ceil(13/n))o.push({text:String(r),x:t-12,y:s(r),align:"right"});return o};const le=(e,t)=>{const{
layers:n,heads:s}=e,o=44,r=Math.max(20,Math.min(62,620/(n+2))),a=Math.max(11,Math.min(96,(t-o-24)/(s+1.6))),i=Math.
max(2.5,Math.min(9,.3*a,.2*r)),l=22,c=l+r*(n+1.5)+46,d=o+a*(s+1.6),h=l+r*(n+1.1),u=o+a*(s+1.6)/2;const f=t=>{const{
layer:i,column:c}=e.place(t);if(i<0)return{x:u,y:h};if(i>=n)return{x:u,y:l};const d=c===s;return{x:o+(c+(d?1:.5))*a,y:
h-r*(i+1+(d?.42:0))+r*.2}};const p=t=>{const{layer:n,kind:o,head:r}=e.reads(t);if(o==="logits")return{x:u,y:l+8};if(
o==="mlp"){const{x:t,y:o}=f(e.nodeAt(n,s));return{x:t,y:o+i}}const a=o!=="q"&&e.group>1,c=f(e.nodeAt(n,a?r*e.group:
r)),d=a?f(e.nodeAt(n,(r+1)*e.group-1)):c;const h={q:-.7,k:0,v:.7}[o]*i;return{x:(c.x+d.x)/2+(a&&o==="k"?-.35*i:h),y:c.
y+i+(a?3:0)}};const m=Array.from({length:e.writers+1},(e,t)=>f(t));const g=Array.from({length:e.readers},(e,t)=>p(t));
const x=new Map([[0,{wide:26,high:8,text:"input"}],[e.writers,{wide:26,high:8,text:"logits"}]]);const y=ie(e,o,r,t=>m[
e.nodeAt(t,0)].y);for(let t=0;t<s;t+=Math.ceil(22/a))y.push({text:String(t),x:m[e.nodeAt(0,t)].x,y:h+24});y.push({
text:"MLP",x:m[e.nodeAt(0,s)].x,y:h+24},{text:"head",x:o+.5*s*a,y:h+39,title:true},{text:"layer",x:9,y:(l+h)/2,turn:-
Math.PI/2,title:true});const w={width:Math.ceil(d+8),height:Math.ceil(c)};return{rh:r,cw:a,r:i,bow:.85*a,...w,nodes:m,
ports:g,boxes:x,labels:y}};const ce=9;const de=(e,t)=>{const{layers:n,positions:s}=e,o=44,r=Math.max(20,Math.min(62,
620/(n+2))),a=Math.max(30,Math.min(110,(t-o-16)/s)),i=Math.max(2.5,Math.min(7,.1*a,.2*r)),l=.17*a,c=a<7*ce,d=22,h=d+
r*(n+1.1),u=h+(c?104:62),f=e=>o+(e+.5)*a;const p=t=>{const{layer:n,column:a}=e.place(t);if(n<0)return{x:f(a),y:h};if(
n>=e.rows)return{x:Math.max(o+26,f(s-1)),y:d};const i=n%2;return{x:f(a)+(i?l:-l),y:h-r*(Math.floor(n/2)+1+(i?.42:0))+
r*.2}};const x=Array.from({length:e.writers+1},(e,t)=>p(t));const y=Array.from({length:e.readers},(t,n)=>{const{layer:
s,kind:o,position:r}=e.reads(n);if(o==="logits")return{x:x[e.writers].x,y:d+8};const{x:a,y:l}=x[e.nodeAt(2*s+(o===
"mlp"?1:0),r)];return{x:a+({q:-.7,v:.7}[o]??0)*i,y:l+i}});const w=new Map([[e.writers,{wide:26,high:8,text:
"logits"}]]);const b=ie(e,o,r,t=>x[e.nodeAt(2*t,0)].y);(e.tokens??[]).forEach((e,t)=>{const n=g(m(e),ce);b.push(c?{
text:n,x:f(t),y:h+14,turn:-Math.PI/2,align:"right"}:{text:n,x:f(t),y:h+22})});b.push({text:"token",x:o+.5*s*a,y:u-12,
title:true},{text:"layer",x:9,y:(d+h)/2,turn:-Math.PI/2,title:true});const v={width:Math.ceil(Math.max(o+s*a,x[e.
writers].x+28)+8),height:u};return{rh:r,cw:a,r:i,bow:.45*a,...v,height:Math.ceil(u),nodes:x,ports:y,boxes:w,labels:
b}};const he=(e,t,n)=>{const s=e.readerOf(n),o=e.writerOf(n),r=t.nodes[o],a=t.ports[s],i=r.y-(t.boxes.get(o)?.high??t.
r),l=i-a.y;const c=Math.abs(a.x-r.x)<.7*t.cw&&l>1.1*t.rh;const d=c?(o%2?1:-1)*Math.min(t.bow,6+.16*l):0,h=Math.max(6,
.45*l);return[r.x,i,r.x+d,i-h,a.x+d,a.y+h,a.x,a.y]};const ue=([e,t,n,s,o,r,a,i],l)=>{const c=1-l,d=c*c*c,h=3*c*c*l,u=
3*c*l*l,f=l*l*l;return[d*e+h*n+u*o+f*a,d*t+h*s+u*r+f*i]};const fe=(e,t,n)=>{const s=Math.ceil(t/re)+1,o=Math.ceil(
n/re)+1,r=new Map;e.forEach((e,t)=>{const n=Math.hypot(e[6]-e[0],e[7]-e[1])+Math.abs(e[2]-e[0]),a=Math.max(2,Math.
ceil(n/oe));let i=-1;for(let n=0;n<=a;n++){const[l,c]=ue(e,n/a),d=Math.floor(l/re),h=Math.floor(c/re);if(d<0||h<0||d>=
s||h>=o)continue;const u=h*s+d;if(u===i)continue;i=u;const f=r.get(u);if(f)f.push(t);else r.set(u,[t])}});const a=(e,
t,n)=>{let s=Infinity,[o,r]=ue(e,0);for(let a=1;a<=32;a++){const[i,l]=ue(e,a/32),c=i-o,d=l-r,h=Math.max(0,Math.min(1,(
(t-o)*c+(n-r)*d)/(c*c+d*d||1)));s=Math.min(s,Math.hypot(t-o-h*c,n-r-h*d));o=i;r=l}return s};const i=(t,n,o=6)=>{
const i=new Set;let l=-1,c=o;for(let e=Math.floor((n-o)/re);e<=Math.floor((n+o)/re);e++)for(let n=Math.floor((t-
o)/re);n<=Math.floor((t+o)/re);n++)for(const t of r.get(e*s+n)??[])i.add(t);for(const s of[...i].sort((e,t)=>e-t)){
const o=a(e[s],t,n);if(o<c-.75){c=o;l=s}}return l};return{nearest:i}};const pe=e=>{if(!e?.scores)return null;const{
layers:t,heads:n,kv:s,parallel:o,whole:r}=e,a=n+2*s+1,i=t*a+1,l=1+t*(n+1),c=n/s;const d=e=>{if(e===i-1)return l;
const t=1+Math.floor(e/a)*(n+1);return e%a===a-1&&!o?t+n:t};const h=new Int32Array(i+1);for(let e=0;e<i;e++)h[e+1]=h[
e]+d(e);const u=q(e.scores);const f=e=>{let t=0,n=i-1;while(t<n){const s=t+n+1>>1;if(h[s]<=e)t=s;else n=s-1}return t};
const p=e=>e-h[f(e)];const m=e=>e===0?{layer:-1,column:-1}:e===l?{layer:t,column:-1}:{layer:Math.floor((e-1)/(n+1)),
column:(e-1)%(n+1)};const g=(e,s)=>e<0?0:e>=t?l:1+e*(n+1)+s;const x=e=>{if(e===0)return"input";if(e===
l)return"logits";const{layer:t,column:s}=m(e);return s===n?`m${t}`:r?`a${t}`:`a${t}.h${s}`};const y=e=>{if(e===i-
1)return{layer:t,kind:"logits",head:-1};const o=Math.floor(e/a),r=e%a;if(r===a-1)return{layer:o,kind:"mlp",head:-1};
if(r<n)return{layer:o,kind:"q",head:r};return r<n+s?{layer:o,kind:"k",head:r-n}:{layer:o,kind:"v",head:r-n-s}};
const w=e=>{const{layer:t,kind:n,head:s}=y(e);if(n==="logits")return"logits";if(n==="mlp")return`m${t}`;if(
r)return`a${t}<${n}>`;return`a${t}.${n!=="q"&&c>1?"kv":"h"}${s}<${n}>`};const b=e=>{const{layer:t,kind:s,head:o}=y(e);
if(s==="logits")return[l];if(s==="mlp")return[g(t,n)];const r=s==="q"?o:o*c,a=s==="q"?1:c;return Array.from({length:
a},(e,n)=>g(t,r+n))};const v=e=>`${x(p(e))}->${w(f(e))}`;const k=new Map;for(let e=0;e<i;e++)k.set(w(e),e);const $=
new Map;for(let e=0;e<=l;e++)$.set(x(e),e);const M=e=>{const[t,n]=String(e).split("->"),s=k.get(n),o=$.get(t);
return s===undefined||o===undefined||o>=d(s)?-1:h[s]+o};return{...e,scores:u,each:h[i],rows:t,last:n,shape:e=>e===0||
e===l?"box":m(e).column===n?"square":"circle",writers:l,readers:i,group:c,readerOf:f,writerOf:p,reads:y,readerName:w,
nodeName:x,nodesOf:b,nameOf:v,edgeOf:M,place:m,nodeAt:g,nodeOf:e=>$.get(e)??-1}};const me=(e,t)=>{const{scores:n}=e,s=
Float64Array.from(n,e=>Number.isNaN(e)?-Infinity:t==="absolute"?Math.abs(e):e);const o=new Uint32Array(n.length).map((
e,t)=>t).filter(e=>s[e]>-Infinity);return o.sort((e,t)=>s[t]-s[e]||e-t)};const ge=(e,t,n)=>[...t].filter(t=>e.
writerOf(t)===n||e.nodesOf(e.readerOf(t)).includes(n)).sort((t,n)=>Math.abs(e.scores[n])-Math.abs(e.scores[t]));
const xe=(e,t)=>Math.max(1,Math.round(t**e));const ye=(e,t)=>t>1?Math.log(Math.max(1,e))/Math.log(t):1;const we=10;
const be=(e,t)=>t?Math.sqrt(Math.min(1,Math.abs(e)/t)):0;const ve=e=>.5+4*e*e+.7*e;const ke=(e,t,n)=>e.diverging(.5+
t*(.24+.26*n));const $e=(e,t,n)=>{const s=Array.from({length:2*we},(e,t)=>({sign:t%2?1:-1,s:(Math.floor(t/2)+.5)/we,
edges:[]}));t.forEach((t,o)=>{const r=e.scores[t],a=Math.min(we-1,Math.floor(be(r,n)*we));s[2*a+(r>=0?1:0)].edges.
push(o)});return s.filter(e=>e.edges.length)};class Me{constructor({label:t,testid:n,hover:s=()=>{},selectNode:o,
selectEdge:r,say:a,tip:i}){Object.assign(this,{onHover:s,selectNode:o,selectEdge:r,say:a,tip:i});this.graph=null;this.
node=-1;this.edge=-1;this.walk=-1;this.hovered={edge:-1,node:-1};this.strokes=0;const l=u("circuit");this.spoken=e(
"div",{role:"option",id:l,class:"mn-hidden","data-testid":`${n}-spoken`});this.base=e("canvas",{"aria-hidden":
"true"});this.overlay=e("canvas",{class:"mn-overlay","aria-hidden":"true"});this.stack=e("div",{class:"mn-stack"},
this.base,this.overlay);this.tipBox=e("div",{class:"mn-tip","aria-hidden":"true","data-testid":`${n}-tip`,hidden:
true});this.element=e("div",{class:"mn-map",role:"listbox",tabindex:"0","aria-label":t,"aria-activedescendant":l,
"data-testid":n,onkeydown:e=>this.keydown(e),onfocus:()=>{this.drawOverlay();this.announce()},onblur:()=>{this.
hideTip();this.drawOverlay()}},this.spoken,e("div",{class:"mn-scroll"},this.stack),this.tipBox);this.stack.
addEventListener("mousemove",e=>this.mousemove(e));this.stack.addEventListener("mouseleave",()=>{this.hovered={edge:-
1,node:-1};this.hideTip();this.drawOverlay();this.onHover(-1,-1)});this.stack.addEventListener("click",e=>{const{edge:
t,node:n}=this.at(e);this.element.focus({preventScroll:true});this.hideTip();if(n>=0)this.choose(n);else if(t>=0)this.
selectEdge(t);else this.choose(-1)})}update({graph:e,kept:t,node:n,edge:s},o){if(e!==this.graph||n!==this.node)this.
walk=-1;const r=e!==this.graph||t!==this.kept||o!==this.width;Object.assign(this,{graph:e,kept:t,node:n,edge:s,width:
o});if(r||R(this.element).dark!==this.theme?.dark)this.draw();this.incident=n<0?[]:ge(e,t,n);this.drawOverlay();this.
announce()}size(e){const{width:t,height:n}=this.layout,s=Math.min(window.devicePixelRatio||1,t*n>4e6?1:2);e.width=
Math.round(t*s);e.height=Math.round(n*s);e.style.width=`${t}px`;e.style.height=`${n}px`;const o=e.getContext("2d");o.
setTransform(s,0,0,s,0,0);o.clearRect(0,0,t,n);return o}trace(e,[t,n,s,o,r,a,i,l]){e.moveTo(t,n);e.bezierCurveTo(s,o,
r,a,i,l)}draw(){if(!this.graph||!this.element.isConnected)return;const{graph:e,kept:t}=this;this.theme=R(this.
element);this.layout=ae(e,this.width);this.most=w(e.scores);this.curves=[...t].map(t=>he(e,this.layout,t));this.index=
null;clearTimeout(this.waiting);this.waiting=setTimeout(()=>this.edgeIndex(),100);this.used=new Uint8Array(e.writers+
1);for(const n of t){this.used[e.writerOf(n)]=1;for(const t of e.nodesOf(e.readerOf(n)))this.used[t]=1}const n=this.
size(this.base);this.size(this.overlay);this.strokes=0;n.lineCap="round";for(const{sign:s,s:o,edges:r}of $e(e,t,this.
most)){n.strokeStyle=T(ke(this.theme,s,o));n.globalAlpha=.35+.6*o;n.lineWidth=ve(o);n.beginPath();for(
const e of r)this.trace(n,this.curves[e]);n.stroke();this.strokes++}n.globalAlpha=1;this.drawNodes(n);this.drawLabels(
n);this.drawOverlay()}drawNodes(e){const{graph:t,layout:n,theme:s}=this,{r:o}=n;for(const r of[0,1]){e.beginPath();n.
nodes.forEach(({x:s,y:a},i)=>{if(n.boxes.has(i)||this.used[i]!==r)return;const l=t.shape(i);if(l==="square")e.rect(s-
o,a-o,2*o,2*o);else if(l==="input")e.rect(s-1.6*o,a-o,3.2*o,2*o);else{e.moveTo(s+o,a);e.arc(s,a,o,0,7)}});e.fillStyle=
s.background;e.fill();e.globalAlpha=r?1:.35;e.strokeStyle=r?s.text:s.muted;e.lineWidth=r?1.4:1;e.stroke();this.
strokes++;e.globalAlpha=1}e.textAlign="center";e.textBaseline="middle";e.font=`11px ${s.font}`;for(const[t,{wide:o,
high:r,text:a}]of n.boxes){const{x:i,y:l}=n.nodes[t];e.fillStyle=s.background;e.fillRect(i-o,l-r,2*o,2*r);e.
strokeStyle=s.text;e.strokeRect(i-o,l-r,2*o,2*r);e.fillStyle=s.text;e.fillText(a,i,l);this.strokes++}}drawLabels(e){
const{theme:t}=this;for(const{text:n,x:s,y:o,align:r="center",turn:a=0,title:i}of this.layout.labels){e.font=
`11px ${i?t.font:t.mono}`;e.fillStyle=i?t.muted:t.text;e.textAlign=r;e.save();e.translate(s,o);e.rotate(a);e.fillText(
n,0,0);e.restore()}}drawOverlay(){if(!this.layout||!this.graph)return;const e=this.overlay.getContext("2d"),{theme:t,
layout:n}=this;e.clearRect(0,0,n.width,n.height);this.overStrokes=0;const s=(s,o,r,a=[])=>{if(!s.length)return;e.
beginPath();for(const t of s)this.trace(e,he(this.graph,n,t));e.setLineDash(a);e.lineCap="round";for(const[n,s]of[[t.
background,3],[o,0]]){e.strokeStyle=n;e.lineWidth=r+s;e.stroke();this.overStrokes++}e.setLineDash([])};const o=(t,s,o,
r=[])=>{if(t<0)return;const{x:a,y:i}=n.nodes[t],l=n.boxes.get(t),c=(l?.wide??n.r)+4,d=(l?.high??n.r)+4;e.setLineDash(
r);e.strokeStyle=s;e.lineWidth=o;e.strokeRect(a-c,i-d,2*c,2*d);e.setLineDash([]);this.overStrokes++};for(const{sign:e,
s:n,edges:o}of $e(this.graph,this.incident??[],this.most))s(o.map(e=>this.incident[e]),T(ke(t,e,n)),ve(n)+.5);if(this.
edge>=0)s([this.edge],t.text,3.2);if(this.walk>=0&&this.incident?.[this.walk]!==undefined)s([this.incident[this.
walk]],t.accent,3,[7,4]);if(this.hovered.edge>=0)s([this.hovered.edge],t.text,2.4);o(this.hovered.node,t.text,1);o(
this.node,document.activeElement===this.element?t.accent:t.text,2)}edgeIndex(){this.index??=fe(this.curves,this.
layout.width,this.layout.height);return this.index}at(e){const t={edge:-1,node:-1};if(!this.layout)return t;const n=
this.overlay.getBoundingClientRect(),s=e.clientX-n.left,o=e.clientY-n.top,{nodes:r,r:a,boxes:i}=this.layout;let l=-1,
c=a+3;r.forEach((e,t)=>{const n=i.get(t),r=n&&Math.abs(s-e.x)<=n.wide&&Math.abs(o-e.y)<=n.high,a=n?r?0:Infinity:Math.
hypot(s-e.x,o-e.y);if(a<c){c=a;l=t}});if(l>=0)return{edge:-1,node:l};const d=this.edgeIndex().nearest(s,o);return d<0?
t:{edge:this.kept[d],node:-1}}mousemove(e){const t=this.at(e);if(t.edge!==this.hovered.edge||t.node!==this.hovered.
node){this.hovered=t;this.drawOverlay();this.onHover(t.edge,t.node)}if(t.edge<0&&t.node<0)return this.hideTip();
const n=this.element.getBoundingClientRect();this.showTip(t,e.clientX-n.left,e.clientY-n.top)}showTip({edge:t,node:n},
s,o){const r=this.tip(t,n);this.tipBox.replaceChildren(...r.map(([t,n])=>e("div",{},t?e("span",{class:"mn-tip-label",
text:`${t} `}):null,e("span",{text:n}))));this.tipBox.hidden=false;const a=this.element.getBoundingClientRect(),{
offsetWidth:i,offsetHeight:l}=this.tipBox;this.tipBox.style.left=`${Math.max(0,s+14+i>a.width?s-i-14:s+14)}px`;this.
tipBox.style.top=`${Math.max(0,o+14+l>a.height?o-l-14:o+14)}px`}hideTip(){this.tipBox.hidden=true}announce(){if(!this.
graph)return;const e=this.walk>=0?this.incident[this.walk]:-1;this.spoken.setAttribute("aria-selected",String(this.
node>=0));this.spoken.setAttribute("aria-label",this.say(this.node,e??-1,this.walk,this.incident?.length??0))}choose(
e){this.walk=-1;this.selectNode(e)}keydown(e){if(!this.graph||e.ctrlKey||e.altKey||e.metaKey)return;const t={ArrowUp:[
1,0],ArrowDown:[-1,0],ArrowLeft:[0,-1],ArrowRight:[0,1]}[e.key],{graph:n}=this;if(t&&this.walk>=0){const t=e.key===
"ArrowDown"||e.key==="ArrowRight"?1:-1;this.walk=Math.max(0,Math.min(this.incident.length-1,this.walk+t))}else if(t){
const{layer:e,column:s}=this.node<0?{layer:n.rows,column:-1}:n.place(this.node);const o=Math.max(-1,Math.min(n.rows,e+
(this.node<0?0:t[0])));const r=Math.min(this.column??(n.byPosition?n.last:0),n.last);const a=s<0?r:Math.max(0,Math.
min(n.last,s+t[1]));this.column=a;this.choose(n.nodeAt(o,a))}else if(e.key==="Home"||e.key==="End"){this.choose(e.
key==="Home"?0:n.writers)}else if(e.key==="Enter"||e.key===" "){if(this.walk>=0)this.selectEdge(this.incident[this.
walk]);else if(this.incident?.length)this.walk=0}else if(e.key==="Escape"&&(this.walk>=0||this.node>=0)){if(this.
walk>=0)this.walk=-1;else this.choose(-1)}else return;e.preventDefault();e.stopPropagation();this.hideTip();this.
drawOverlay();this.announce()}}const Oe=760;const Ne=(e,t,{title:n,subtitle:s,unit:o})=>{const r=ae(e,Oe),a=Math.max(
Oe,r.width),i=44,l=r.height+i+24,c=w(e.scores),d=A("svg",{xmlns:"http://www.w3.org/2000/svg",width:a,height:l,viewBox:
`0 0 ${a} ${l}`,"font-family":"DejaVu Sans, Arial, sans-serif","font-size":10});const h=(e,t,n,s={})=>A("text",{x:e,y:
t,fill:N.text,...s},n);d.append(A("rect",{width:"100%",height:"100%",fill:N.page}),h(12,18,n,{"font-size":12,
"font-weight":"bold"}),h(12,34,s,{fill:N.muted}));const u=A("g",{transform:`translate(0 ${i})`});for(const{sign:n,s:s,
edges:o}of $e(e,t,c)){const a=o.map(n=>{const[s,o,...a]=he(e,r,t[n]).map(e=>Number(e.toFixed(1)));
return`M${s} ${o}C${a.join(" ")}`});u.append(A("path",{d:a.join(""),fill:"none",stroke:T(ke(F.light,n,s)),
"stroke-width":ve(s).toFixed(2),opacity:(.35+.6*s).toFixed(2)}))}const{r:f,boxes:p}=r;r.nodes.forEach(({x:t,y:n},s)=>{
const o={fill:N.page,stroke:N.text},r=p.get(s),a=e.shape(s);if(r)u.append(A("rect",{x:t-r.wide,y:n-r.high,width:2*r.
wide,height:2*r.high,...o}),h(t,n+3.5,r.text,{"text-anchor":"middle"}));else if(a==="circle")u.append(A("circle",{cx:
t,cy:n,r:f,...o}));else{const e=a==="input"?1.6*f:f;u.append(A("rect",{x:t-e,y:n-f,width:2*e,height:2*f,...o}))}});
for(const{text:e,x:t,y:n,align:s="center",turn:o=0,title:a}of r.labels)u.append(A("text",{transform:`translate(${t.
toFixed(1)} ${n.toFixed(1)}) rotate(${Math.round(o*180/Math.PI)})`,dy:3.5,fill:a?N.muted:N.text,"text-anchor":s===
"right"?"end":"middle"},e));d.append(u);const m=l-12;[-1,1].forEach((e,t)=>{d.append(A("line",{x1:12+270*t,x2:40+
270*t,y1:m-4,y2:m-4,stroke:T(ke(F.light,e,1)),"stroke-width":ve(1)}),h(46+270*t,m,`${e>0?"speaks for":
"speaks against"} the answer, up to ${x(e*c)} ${o}`))});return{text:(new XMLSerializer).serializeToString(d),width:a,
height:l}};class Ae{constructor({label:t,testid:n="strip",choose:s=()=>{},hover:o=()=>{}}){Object.assign(this,{choose:
s,hover:o});this.ids=u("token");this.count=0;this.chosen=0;this.element=e("div",{class:"mn-strip",role:"listbox",
"aria-orientation":"horizontal",tabindex:"0","aria-label":t,"data-testid":n,onkeydown:e=>this.keydown(e)})}update(t,
n){this.count=t.length;this.chosen=n;this.element.replaceChildren(...t.map(({token:t,colour:s,says:o="",strong:r=
false},a)=>{const i=m(t);const l=e("span",{class:`mn-token${a===n?" mn-chosen":""}${r?" mn-strong":""}`,role:"option",
id:`${this.ids}-${a}`,"aria-selected":String(a===n),"data-index":a,text:i,"aria-label":`${a} ${i}${a===n?", chosen":
""}${o?`, ${o}`:""}`,onclick:()=>{this.element.focus({preventScroll:true});this.choose(a)},onmouseenter:()=>this.
hover(a),onmouseleave:()=>this.hover(null)});if(s){l.style.backgroundColor=T(s);l.style.color=j(s)}return l}));if(n>=
0)this.element.setAttribute("aria-activedescendant",`${this.ids}-${n}`);else this.element.removeAttribute(
"aria-activedescendant")}keydown(e){const t=this.chosen,n={ArrowLeft:t-1,ArrowRight:t+1,ArrowUp:t-1,ArrowDown:t+1,
Home:0,End:this.count-1,PageUp:t-10,PageDown:t+10}[e.key];if(n===undefined||!this.count||e.ctrlKey||e.metaKey||e.
altKey)return;e.preventDefault();e.stopPropagation();this.choose(Math.max(0,Math.min(this.count-1,n)))}}const Se=e=>{
if(!e?.scores)return null;const t=pe({...e,heads:1,kv:1,whole:true}),{layers:n,positions:s}=e,{each:o}=t,r=2*n,a=s*t.
writers;const i=e=>e===a?s-1:Math.floor(e/t.writers);const l=e=>e===a?{layer:r,column:-1}:{layer:e%t.writers-1,column:
i(e)};const c=(e,n)=>e>=r?a:Math.max(0,Math.min(s-1,n))*t.writers+Math.max(0,e+1);const d=e=>e===a?"logits":`${t.
nodeName(e%t.writers)}@${Math.floor(e/t.writers)}`;const h=e=>{const[,t,n]=/^(.*)@(\d+)$/.exec(String(e))??[];
return n===undefined||Number(n)>=s?null:[t,Number(n)]};return{...t,byPosition:true,rows:r,last:s-1,writers:a,readers:
s*t.readers,shape:e=>e===a?"box":e%t.writers===0?"input":l(e).layer%2?"square":"circle",readerOf:e=>Math.floor(e/o)*t.
readers+t.readerOf(e%o),writerOf:e=>Math.floor(e/o)*t.writers+t.writerOf(e%o),reads:e=>({...t.reads(e%t.readers),
position:Math.floor(e/t.readers)}),readerName:e=>`${t.readerName(e%t.readers)}@${Math.floor(e/t.readers)}`,nodeName:d,
nodesOf:e=>t.nodesOf(e%t.readers).map(n=>n===t.writers?a:Math.floor(e/t.readers)*t.writers+n),nameOf:e=>`${t.nameOf(
e%o)}@${Math.floor(e/o)}`,edgeOf:e=>{const[n,s]=h(e)??[],r=n===undefined?-1:t.edgeOf(n);return r<0?-1:s*o+r},place:l,
nodeAt:c,nodeOf:e=>{if(e==="logits")return a;const[n,s]=h(e)??[],o=n===undefined?-1:t.nodeOf(n);return o<0||o===t.
writers?-1:s*t.writers+o},tokenOf:i,positionOf:e=>Math.floor(e/o)}};const Ee=e=>{const t=new Float64Array(e.
positions);e.scores.forEach((n,s)=>{if(!Number.isNaN(n))t[e.positionOf(s)]+=Math.abs(n)});const n=t.reduce((e,t)=>e+t,
0);return Array.from(t,e=>n?e/n:0)};const Ce=({get:n,set:s,graph:o})=>{let a=-1,l=null,c=[];const d=()=>o(
)?.byPosition?o():null;const h=new Ae({label:
"Tokens of the chosen pair, the clean prompt; where the corrupted one differs it stands behind a bar",choose:e=>{a=e;
if(d())s({node:d().nodeName(d().nodeAt(-1,e))});x()}});const u=e("select",{"data-testid":"pair",onchange:()=>s({pair:
Number(u.value)})}),f=e("div",{class:"mn-note","data-testid":"readout","aria-live":"polite"});const p=i({label:
"Tokens of a pair",title:"A pair",beside:[e("label",{class:"mn-check"},"shown ",u)]},h.element,f);const x=()=>{
const e=n("tokens"),s=e.clean??[],o=d(),i=o!==null&&o.pair===e.pair;p.hidden=!s.length&&!e.text;if(i&&l!==o)c=Ee(o);l=
i?o:null;const x=i?o.nodeOf(n("node")):-1;if(x>=0)a=o.tokenOf(x);if(a>=s.length)a=-1;const y=n("graph").names??Array.
from({length:e.of??0},(e,t)=>`pair ${t}`);if(u.length!==y.length||u.dataset.run!==String(n("graph").run))u.
replaceChildren(...y.map((e,t)=>r(String(t),`${t}: ${g(m(e),60)}`)));u.dataset.run=String(n("graph").run);u.value=
String(e.pair??0);const w=i?R(p):null,b=Math.max(...i?c:[0]);h.update(s.map((t,n)=>{const s=e.corrupted[n],o=s!==t,r=[
o?`corrupted ${m(s)}`:"",i?`${$(c[n])} of all scores`:""];return{token:o?`${t}|${s}`:t,strong:o,colour:i&&b?w.single(
c[n]/b):undefined,says:r.filter(Boolean).join(", ")}}),a);const k=`answer ${m(e.answer??"")}${e.foil?`, foil ${m(e.
foil)}`:""}`,M=i&&a>=0?`${$(c[a])} of all scores’ size; `:"";t(f,e.text??(a<0?`${v(s.length,"token")}; ${k}`:
`position ${a}: clean ${m(s[a])}, `+`corrupted ${m(e.corrupted[a])}; ${M}${k}`))};return{element:p,draw:x}};const Le=
12;const _e=(t,...n)=>[e("dt",{text:t}),e("dd",{},...n)];const Te=(t,n)=>{if(!t||b(t.mean))return[e("span",{text:
"no value"})];const s=M(t.low,t.high,x);return[e("strong",{text:x(t.mean)}),` ${n}`,e("span",{class:"mn-why",text:s?
`95 % interval over ${v(t.n,"pair")}: ${s}`:`${v(t.n,"pair")}; ${t.kind}`})]};const Pe=t=>{if(!t.edge)return[e("p",{
class:"mn-note",text:"Click an edge, or choose one below: its exact effect is run."})];if(t.status==="error"&&!t.
writer)return[c(`There is no edge ${t.edge}`,t.text,"edge-error")];if(!t.writer)return[e("p",{class:"mn-note",role:
"status",text:"running …"})];if(t.parts)return je(t);const n=t.status==="running"?[e("span",{class:"mn-note",role:
"status",text:"running …"})]:t.status==="error"?[c("The exact effect failed",t.text,"edge-error")]:Te(t.exact,t.unit);
const s=t.exact&&t.gap?[..._e("of the gap",`${$(t.exact.mean/t.gap)} of clean − corrupted`)]:[];return[e("dl",{class:
"mn-facts","data-testid":"edge-facts"},..._e("edge",e("code",{text:`${t.writer} → ${t.reader}`})),..._e("score",...Te(
t.score,t.unit)),...b(t.rank)?[]:_e("rank",`${t.rank.toLocaleString("en")} of ${t.of.toLocaleString("en")} by size`),
..._e("exact effect",...n),...s,...t.chosen?_e("checked",t.chosen):[])]};const je=t=>[e("dl",{class:"mn-facts",
"data-testid":"edge-facts"},..._e("edge",e("code",{text:`${t.writer} → ${t.reader}`})),..._e("token",e("code",{text:
`${t.position} ${m(t.token)}`})),..._e("score",e("strong",{text:x(t.score.mean)}),` ${t.unit}, of this pair alone`),
..._e("rank",`${t.rank.toLocaleString("en")} of ${t.of.toLocaleString("en")} by size`)),t.status==="error"?c(
"The exact effects failed",t.text,"edge-error"):L("parts",["largest inside","score","exact at this token"],t.parts.
map(e=>[e.edge.replace("->"," → "),x(e.score),t.status==="running"?"running …":x(e.exact)])),e("p",{class:"mn-note",
text:`The sum of ${v(t.n_single,"edge")} between heads. One pair: exact effects of it, and no interval.`})];const ze=(
t,n,s,o,r)=>e("ol",{class:"mn-edges","data-testid":"edge-list"},...n.slice(0,Le).map(n=>{const a=t.scores[n],i=t.
nameOf(n).replace("->"," → ");return e("li",{},e("button",{type:"button",class:`mn-edge${n===s?" mn-chosen":""}`,
"data-edge":t.nameOf(n),"aria-pressed":String(n===s),onclick:()=>r(n)},e("span",{class:`mn-edge-bar ${a<0?
"mn-against":"mn-for"}`,"aria-hidden":"true",style:`width:${o?(100*Math.abs(a)/o).toFixed(1):0}%`}),e("code",{text:
i}),e("span",{class:"mn-p",text:x(a)})))}));const Fe=1e3;const Re=[["inputs","gradient along the inputs (EAP-IG)"],[
"clean-corrupted","gradients of both runs"],["gim","gradient interactions (GIM)"]];const Ie=["logit_diff",
"logprob_diff","prob","logprob","kl"].map(e=>[e,e]);const Be=[["head","head"],["position","token"]];const De=
"One pair, heads of a layer summed: circles are attention, squares MLPs. Edges stay in their token; what goes from "+
"token to token goes inside attention, which reads keys and values at the earlier one.";const qe=[["counterfactual",
"the corrupted run’s"],["mean","the mean"],["zero","nothing"]];function Ue({model:n,el:s}){const o=V(n,{title:
"Circuit",testid:"circuit-view",name:"Circuit view",kind:"mn-circuit",label:"Run",help:"Score every edge",stop:
"End after the batch in progress; pairs that are finished stay",unit:"Batches",start:()=>r("run",{fields:M()})});
const{send:r,listen:h,set:u,root:f,row:p,error:g}=o,b=e=>n.get(e);const{choose:k,shown:M}=K(n,h,u);let N=null,A=null,
S=new Uint32Array(0),E=new Uint32Array(0),C="";const L=e=>x(A.scores[e]);const _=e=>e<0?[]:[["token",`${e} ${m(A.
tokens[e])}`]];const T=e=>S.indexOf(e)+1;const P=new Me({label:
"Graph of edges. Arrow keys go from node to node, Enter goes into a node’s edges, there arrows walk and Enter "+
"runs the exact effect, Escape leaves.",testid:"circuit",say:(e,t,n,s)=>t>=0?`edge ${n+1} of ${s}: ${A.nameOf(t).
replace("->"," to ")}, score ${L(t)}`:e>=0?`${A.nodeName(e)}, ${v(s,"edge")} shown`:`no node chosen, ${v(E.length,
"edge")} shown`,tip:(e,t)=>e>=0?[["",A.nameOf(e).replace("->"," → ")],["writer",A.nodeName(A.writerOf(e))],["reader",
A.readerName(A.readerOf(e))],["score",`${L(e)} ${A.unit}`],["rank",`${T(e)} of ${A.scored.toLocaleString("en")}`],
..._(A.byPosition?A.positionOf(e):-1)]:[["",A.nodeName(t)],["",`${v(ge(A,E,t).length,"edge")} shown`],..._(A.
byPosition?A.tokenOf(t):-1)],selectNode:e=>u({node:e<0?"":A.nodeName(e)}),selectEdge:e=>u({edge:A.nameOf(e)})});
const j=new B("colour-bar"),z=e("output",{class:"mn-note","data-testid":"kept","aria-live":"polite"}),F=e("p",{class:
"mn-note","data-testid":"check"}),R=e("input",{type:"range",min:0,max:Fe,step:1,"data-testid":"threshold",
"aria-label":"Edges shown, on a log scale",oninput:()=>u({shown:xe(R.value/Fe,A?.most??1)})});const I=e("div",{
"data-testid":"edge-side","aria-live":"polite"}),D=e("div"),q=e("h3",{"data-testid":"list-title"}),U=e("div",{
"data-testid":"waiting"});const H=()=>{if(!f.isConnected)return;fe.hidden=we.hidden=ke.element.hidden=!N;he.hidden=
!!N||!!b("error").text||b("status")==="running";ue.hidden=!!N||b("status")!=="running";if(N)de();P.element.hidden=!A;
Y();if(!A)return;const e=Math.min(b("shown"),A.most),t=`${A.run} ${A.pair??""} ${e} ${b("ranking")}`;if(t!==C){C=t;E=
S.slice(0,Math.max(1,e))}const n=Math.min(f.clientWidth-30||900,1400),s=n>820;fe.classList.toggle("mn-one",!s);P.
update({graph:A,kept:E,node:A.nodeOf(b("node")),edge:A.edgeOf(b("edge"))},s?Math.round(n*.62):n-8);const o=w(A.
scores);j.update({ramp:P.theme.diverging,low:x(-o),middle:"0",high:x(o),title:`score, ${A.
unit}; above 0 speaks for the answer`});if(document.activeElement!==R)R.value=Math.round(Fe*ye(e,A.most));R.
setAttribute("aria-valuetext",v(e,"edge"));Q(e);oe();re.draw()};const Y=()=>{const n=b("columns").status==="error"&&b(
"by")==="position";U.replaceChildren(...A||!N?[]:n?[c("The tokens could not be scored",b("columns").text,
"columns-error")]:[e("p",{class:"mn-note",role:"status",text:"Scoring every token of the pair …"})]);if(!A&&N){t(z,
"");I.replaceChildren();D.replaceChildren();t(q,"")}};const G=e=>{const t=(e,t)=>e+(Math.abs(A.scores[t])||0),n=A.
scores.reduce((e,t)=>e+(Math.abs(t)||0),0);const s=e.length?A.scores[e[e.length-1]]:NaN;return{n:e.length,least:s,
share:n?e.reduce(t,0)/n:0}};const Q=e=>{const n=A.byPosition?G(E):b("kept"),s=n.n===e;t(z,`${v(e,"edge")} of ${A.
edges.toLocaleString("en")}`+`${s&&"on_path"in n?`; ${n.on_path.toLocaleString("en")} on a path from input to logits`:
""}`+`${s?`; ${$(n.share)} of all scores’ size, the least ${x(n.least)}`:""}`+`${A.most<A.scored?`; at most ${A.most.
toLocaleString("en")} are drawn`:""}`);t(F,A.byPosition?De:A.check);F.hidden=!F.textContent};const oe=()=>{I.
replaceChildren(...Pe(b("detail")));const n=A.nodeOf(b("node")),s=n<0?[...E.slice(0,Le)]:ge(A,E,n),o=n<0?E.length:s.
length;t(q,n<0?"The largest edges":`Edges of ${A.nodeName(n)}: ${o.toLocaleString("en")} shown`);D.replaceChildren(ze(
A,s,A.edgeOf(b("edge")),w(A.scores),e=>u({edge:A.nameOf(e)})),...o>Le?[e("p",{class:"mn-note",text:`and ${(o-Le).
toLocaleString("en")} more on the graph`})]:[])};const re=Ce({get:b,set:u,graph:()=>A});const ae=W("judge",
"Compute faithfulness",()=>r("judge")),ie=W("stop-judging","Stop",()=>r("stop judging")),le=e("span",{class:"mn-note",
role:"status","data-testid":"judging"}),ce=e("div",{"data-testid":"curve"});const de=()=>{const n=b("curve"),s=n.
status??"idle";ae.disabled=s==="running"||s==="stopping"||b("status")==="running";ie.disabled=s!=="running";t(le,s===
"error"?"":n.text??"");const o=b("ranking");if(s==="error"){ce.replaceChildren(c("Faithfulness could not be computed",
n.text,"curve-error"));return}if(s!=="complete"){const t=
"How much of the metric circuits of each size keep by themselves, beside random ones.";ce.replaceChildren(e("p",{
class:"mn-note",text:t}));return}const r=Math.max(300,Math.min(640,(f.clientWidth||900)-40)),a=Z(O,n,o,r,270);ce.
replaceChildren(...n.found_on?[e("p",{class:"mn-warning","data-testid":"same-pairs",text:`The edges were found on ${n.
found_on} of these ${v(n.n,"pair")}: f is too high. `+"Give others (held_out=)."})]:[],e("p",{class:"mn-caption",text:
`Circuits ${J[o]}: filled circles; random ones: open squares.`}),a,e("p",{class:"mn-note",text:te(n,o)}),ee(n,o))};
const he=l("No edges yet",
"Press Run: every edge between two parts of the model gets a score, and the largest are drawn here.");const ue=e(
"div",{class:"mn-empty","data-testid":"busy"},e("strong",{text:"Scoring every edge …"}));const fe=e("div",{class:
"mn-body"},e("section",{class:"mn-graph","aria-label":"Graph"},e("div",{class:"mn-threshold"},d("Edges shown",null,R),
a("Kept are the largest",k("ranking",[["absolute","by size"],["signed","for the answer"]])),a("Drawn by",k("by",Be)),
j.element),z,U,P.element,F),e("section",{class:"mn-side","aria-label":"Edges"},e("h3",{text:"The chosen edge"}),I,q,
D));const we=i({label:"Faithfulness",title:"Faithfulness",beside:[ae,ie,le]},ce);const be=()=>{N=pe(b("graph"));const{
status:e,run:t}=b("columns"),n=e==="ready"&&t===N?.run;A=b("by")==="head"?N:n?Se({...b("graph"),...b("columns")}):
null;S=A?me(A,b("ranking")):new Uint32Array(0);C="";H()};h(["graph","ranking","by","columns"],be);h(["shown","node",
"edge","detail","error","status"],H);h(["kept"],()=>A&&Q(Math.min(b("shown"),A.most)));h(["curve"],()=>N&&f.
isConnected&&de());h(["tokens","graph"],re.draw);const ve=()=>y(["edge","writer","reader","score"])+[...E].map(e=>y([
A.nameOf(e),A.nodeName(A.writerOf(e)),A.readerName(A.readerOf(e)),A.scores[e]])).join("")+(b("curve").status===
"complete"?"\r\n"+y(ne)+se(b("curve")).map(y).join(""):"");const ke=X(n,r,{stem:()=>`circuit_${E.length}`,figure:()=>
Ne(A,E,{title:`${b("model_info").name}: ${E.length} of ${A.edges} edges`,subtitle:`${A.method}, ${A.metric}, ${A.
ablation}, `+`${A.byPosition?`pair ${A.pair}, by token`:v(A.pairs,"pair")}`,unit:A.unit}),table:ve,example:
"edges.zarr, edges.nc, circuit.json"});const $e=o.open(s,{parts:[e("div",{class:"mn-controls"},a("Scores by",k(
"method",Re)),a("Metric",k("metric",Ie)),a("A cut edge carries",k("ablation",qe)),p),g,he,ue,fe,re.element,we],drawer:
ke,box:f,draw:H});be();re.draw();return $e}var Ke={render:Ue};export{Ke as default};
