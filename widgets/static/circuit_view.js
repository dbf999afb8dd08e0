// Built by npm run build from 17 files, sha256 5aa062b331fd19cf96e563cb3db93e7ad0dceab54ced0546c6164edf7da5d2d7
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
e)} to ${n(t)}`;const A={text:"var(--mn-text)",muted:"var(--mn-muted)",line:"var(--mn-line)",accent:
"var(--mn-accent)",other:"var(--mn-other)",page:"var(--mn-bg)"};const N={text:"#1c1c1c",muted:"#555555",page:
"#ffffff"};const S=(e,t={},...n)=>{const s=document.createElementNS("http://www.w3.org/2000/svg",e);for(const[e,
n]of Object.entries(t))if(!b(n))s.setAttribute(e,n);s.append(...n);return s};const O=(e,t,n)=>{const s=(t-e)/Math.max(
1,n)||1,o=10**Math.floor(Math.log10(s)),a=o*([1,2,5].find(e=>e*o>=s*.999)??10),r=[];for(let n=Math.ceil(e/a-1e-9);
n*a<=t+1e-9*a;n++)r.push(Number((n*a).toPrecision(12))||0);return r};const E=(e,{width:t,height:n,title:s,label:o,x:a,
y:r,left:i=54})=>{const l=t-14,c=s?30:14,d=n-38,h=(t,n)=>S("text",{style:`fill:${e.muted}`,"font-size":10.5,...t},n);
const u=(e,t,n)=>{const s=e.map??(e=>e),o=s(e.low),a=s(e.high);return e=>t+(s(e)-o)/(a-o||1)*(n-t)};const f=u(a,i,l),
p=u(r,d,c);const m=S("svg",{xmlns:"http://www.w3.org/2000/svg",viewBox:`0 0 ${t} ${n}`,width:t,height:n,role:"img",
"aria-label":o,"font-family":"system-ui, DejaVu Sans, Arial, sans-serif","font-size":11});if(s)m.append(h({x:2,y:13,
"font-size":12,"font-weight":600,style:`fill:${e.text}`},s));for(const[t,n]of r.marks)m.append(S("line",{x1:i,x2:l,y1:
p(t),y2:p(t),style:`stroke:${e.line}`,"stroke-width":.7}),h({x:i-6,y:p(t)+3.5,"text-anchor":"end"},n));let g=-99;for(
const[e,n]of a.marks){const s=f(e),o=n.length*3+3;if(s-o<g)continue;g=s+o;m.append(h({x:Math.min(s,t-o-2),y:d+14,
"text-anchor":"middle"},n))}m.append(S("line",{x1:i,x2:l,y1:d,y2:d,style:`stroke:${e.muted}`}),h({x:(i+l)/2,y:n-5,
"text-anchor":"middle"},a.title),h({transform:`translate(11 ${(c+d)/2}) rotate(-90)`,"text-anchor":"middle"},r.
title));return{root:m,X:f,Y:p,left:i,right:l,top:c,bottom:d,words:h}};const C=(...t)=>e("thead",{},e("tr",{},...t.map(
t=>e("th",{scope:"col",text:t}))));const L=(t,n,s)=>e("div",{class:"mn-tablebox"},e("table",{class:"mn-table",
"data-testid":t},C(...n),e("tbody",{},...s.map(([t,...n])=>e("tr",{},e("th",{scope:"row",text:t}),...n.map(t=>Array.
isArray(t)?e("td",{},e("span",{text:t[0]}),t[1]?e("span",{class:"mn-why",text:t[1]}):null):e("td",{text:t})))))));
const T=e=>[1,3,5].map(t=>parseInt(e.slice(t,t+2),16));const _=([e,t,n])=>`rgb(${Math.round(e)},${Math.round(
t)},${Math.round(n)})`;const j=([e,t,n])=>(.2126*e+.7152*t+.0722*n)/255;const R=e=>{const[t,n,s]=e.map(e=>e<=10.3?
e/3294.6:((e/255+.055)/1.055)**2.4);const o=.2126*t+.7152*n+.0722*s;return 1.05/(o+.05)>(o+.05)/.05?"#ffffff":
"#000000"};const z=e=>{const t=e.map(T),n=t.length-1;return e=>{const s=Math.min(1,Math.max(0,e))*n,o=Math.min(n-1,
Math.floor(s)),a=s-o;return t[o].map((e,n)=>e+a*(t[o+1][n]-e))}};const P={light:{diverging:z(["#0a3a75","#2f7fc1",
"#a6cdec","#f9f9f7","#fbc98f","#dd7f1d","#853703"]),single:z(["#f9f9f7","#b9d8ee","#5a9fd4","#1f62a6","#08264f"]),
missing:[214,214,214],ink:"#1c1c1c"},dark:{diverging:z(["#a9d6ff","#4a9be0","#22507d","#202328","#7a4515","#dd8430",
"#ffd0a0"]),single:z(["#202328","#1d4a73","#2f7fc1","#7cbcf0","#e6f4ff"]),missing:[78,82,88],ink:"#f2f2f2"}};const F=
t=>{const n=getComputedStyle(t.closest(".mnemoscope")??t);const s=(e,t)=>n.getPropertyValue(e).trim()||t;const o=e(
"canvas",{width:1,height:1}).getContext("2d",{willReadFrequently:true});o.fillStyle="#ffffff";o.fillStyle=n.
backgroundColor;o.fillRect(0,0,1,1);const a=[...o.getImageData(0,0,1,1).data].slice(0,3),r=j(a)<.4;const i=r?P.dark:P.
light;return{dark:r,...i,page:a,text:n.color,muted:s("--mn-muted","#666"),accent:s("--mn-accent","#0b6bcb"),
background:n.backgroundColor,font:s("--mn-font","system-ui, sans-serif"),mono:s("--mn-mono","monospace")}};const B=e=>
{const t=new MutationObserver(()=>requestAnimationFrame(e));for(const e of[document.documentElement,document.body])t.
observe(e,{attributes:true,attributeFilter:["class","style","data-jp-theme-name","data-jp-theme-light",
"data-vscode-theme-kind"]});const n=matchMedia("(prefers-color-scheme: dark)");n.addEventListener("change",e);return(
)=>{t.disconnect();n.removeEventListener("change",e)}};class D{constructor(t){this.canvas=e("canvas",{width:128,
height:8,"aria-hidden":"true"});this.low=e("span");this.middle=e("span");this.high=e("span");this.title=e("div",{
class:"mn-bar-title"});this.element=e("div",{class:"mn-bar",role:"img","data-testid":t},this.title,this.canvas,e(
"div",{class:"mn-bar-ends"},this.low,this.middle,this.high))}update({ramp:e,low:n,middle:s="",high:o,title:a}){
const r=this.canvas.getContext("2d");for(let t=0;t<128;t++){r.fillStyle=_(e(t/127));r.fillRect(t,0,1,8)}t(this.low,n);
t(this.middle,s);t(this.high,o);t(this.title,a);this.element.setAttribute("aria-label",
`Colour scale: ${a}, from ${n} to ${o}`)}}const I=(t,n=3)=>new Promise((s,o)=>{const a=new Image;a.onload=()=>{
const o=e("canvas",{width:t.width*n,height:t.height*n});const r=o.getContext("2d");r.scale(n,n);r.drawImage(a,0,0);o.
toBlob(s,"image/png")};a.onerror=()=>o(new Error("the browser could not draw the figure"));a.src=
"data:image/svg+xml;charset=utf-8,"+encodeURIComponent(t.text)});const U=e=>{if(!e)return new Float32Array(0);const t=
e instanceof ArrayBuffer?new DataView(e):e;const n=t.byteOffset%4?t.buffer.slice(t.byteOffset,t.byteOffset+t.
byteLength):t.buffer;return new Float32Array(n,t.byteOffset%4?0:t.byteOffset,Math.floor(t.byteLength/4))};const q=e=>{
const t=[];return{undo:t,send:(t,n={})=>e.send({type:t,...n}),listen:(n,s)=>{for(const o of n){e.on(`change:${o}`,s);
t.push(()=>e.off(`change:${o}`,s))}},set:t=>{for(const[n,s]of Object.entries(t))e.set(n,s);e.save_changes()}}};
const K=(t,n,s)=>{const o={},r={range:true,number:true};const i=(e,n)=>{const s=typeof t.get(e);return s==="boolean"?
n.checked:s!=="number"?n.value:n.value===""?NaN:Number(n.value)};const l=(e,t)=>{if(e.type==="checkbox")e.checked=t;
else e.value=t};const c=(e,a)=>{o[e]=a;a.setAttribute("data-testid",e);let c,d,h=0;const u=()=>{clearTimeout(d);
const n=h-Date.now();if(n>0){d=setTimeout(u,n);return}if(i(e,a)!==t.get(e)){l(a,t.get(e));a.dispatchEvent(new Event(
"pulled"))}};u();n([e],u);const f=()=>{clearTimeout(c);const n=i(e,a);if(!Number.isNaN(n)&&n!==t.get(e))s({[e]:n})};a.
addEventListener("change",f);if(a.tagName!=="SELECT"&&a.type!=="checkbox")a.addEventListener("input",()=>{
clearTimeout(c);if(r[a.type]){h=Date.now()+700;f()}else c=setTimeout(f,350)});a.flush=f;return a};return{inputs:o,
bound:c,shown:()=>Object.fromEntries(Object.entries(o).map(([e,t])=>[e,i(e,t)]).filter(([,e])=>!Number.isNaN(e))),
flush:()=>{for(const e of Object.values(o))e.flush()},area:(t,n={})=>c(t,e("textarea",{rows:2,spellcheck:"false",
autocapitalize:"off",...n})),line:(t,n)=>c(t,e("input",{type:"text",spellcheck:"false",autocomplete:"off",placeholder:
n})),choose:(t,n)=>c(t,e("select",{},...n.map(([e,t])=>a(e,t))))}};const W=(t,n,s,o="")=>e("button",{type:"button",
class:`mn-button ${o}`,"data-testid":t,text:n,onclick:s});const H={svg:"Figure (SVG)",png:"Figure (PNG)",csv:
"Data (CSV)",save:"Save the labelled data on the kernel’s machine as"};const X=(n,a,{stem:i,figure:l,table:c,example:
d,labels:h={},before:u=[],after:f=[]})=>{const p={...H,...h};const m=e("textarea",{class:"mn-code",readonly:true,rows:
12,spellcheck:"false","aria-label":"Python that reproduces this view","data-testid":"code"});const g=e("input",{type:
"text","data-testid":"path",placeholder:d,spellcheck:"false"});const x=e("div",{class:"mn-note","data-testid":"saved",
role:"status"}),y=e("input",{type:"checkbox","data-testid":"overwrite"});const w=()=>a("save",{path:g.value,overwrite:
y.checked});g.onkeydown=e=>{if(e.key==="Enter")w()};const b=async e=>{const n=e.currentTarget;await o(m.value,m);t(n,
"Copied");setTimeout(()=>t(n,"Copy"),1500)};const v=e("div",{},e("div",{class:"mn-buttons"},...u,W("svg",p.svg,()=>s(
`${i()}.svg`,"image/svg+xml",l().text)),W("png",p.png,async()=>s(`${i()}.png`,"image/png",await I(l()))),W("csv",p.
csv,()=>s(`${i()}.csv`,"text/csv",c())),...f),e("div",{class:"mn-saverow"},r(p.save,g),W("save","Save",w),e("label",{
class:"mn-check"},y,"replace what is there")),x);const k=e("details",{class:"mn-more","data-testid":"export"},e(
"summary",{text:"Export and code"}),v,e("div",{class:"mn-side-head"},e("span",{class:"mn-label",text:
"Python that reproduces this view"}),W("copy","Copy",b,"mn-small")),m);const $=()=>{const e=n.get("saved");t(x,e.
text??"");x.classList.toggle("mn-bad",e.ok===false);m.value=n.get("code");m.rows=m.value.split("\n").length+1};return{
element:k,files:v,draw:$}};const Y=(t,{send:n,listen:s})=>{const o=e("select",{"data-testid":"examples","aria-label":
"Example shown",onchange:()=>n("example",{number:Number(o.value)})});const r=e("label",{class:"mn-examples"},e("span",
{class:"mn-note",text:"Example"}),o);const i=()=>{const{names:e=[],own:n=false,chosen:s=null}=t.get("examples");r.
hidden=e.length+n<1||e.length===1&&!n&&s===0;o.replaceChildren(...s===null?[a("","choose one …")]:[],...e.map((e,t)=>
a(String(t),e)),...n?[a("-1","your last input")]:[]);o.value=s===null?"":String(s)};s(["examples"],i);i();return r};
const G=(n,s,{send:o,listen:a},{start:r,label:i,help:l,stop:c,unit:d})=>{const h=e("button",{class:
"mn-button mn-primary",type:"button","data-testid":"run",text:i,title:`${l} (Ctrl+Enter)`,onclick:r});const u=e(
"button",{class:"mn-button",type:"button","data-testid":"stop",text:"Stop",title:c,onclick:()=>o("stop")});const f=e(
"div",{class:"mn-progress-fill"}),p=e("span",{class:"mn-note","data-testid":"progress",role:"status"});const m=e(
"div",{class:"mn-progress",role:"progressbar","aria-label":d,"aria-valuemin":0,"aria-valuemax":100},f);const g=e(
"div",{class:"mn-error",role:"alert","data-testid":"error",hidden:true});const x=()=>{const o=n.get("status"),a=n.get(
"progress"),r=a.total?Math.round(100*a.done/a.total):0,i=n.get("error");u.disabled=o!=="running";s.setAttribute(
"data-status",o);m.hidden=o!=="running"&&o!=="stopping";f.style.width=`${r}%`;m.setAttribute("aria-valuenow",r);t(p,a.
text??"");g.hidden=!i.text;g.replaceChildren(...i.text?[e("strong",{text:i.title}),e("pre",{text:i.text})]:[])};a([
"status","progress","error"],x);x();const y=e("div",{class:"mn-run"},h,u,e("div",{class:"mn-status"},m,p));return{run:
h,row:y,error:g}};const V=(t,{title:s,testid:o,name:a,kind:r,data:i,start:l,label:c="Run",help:d,stop:h,unit:u})=>{
const m=q(t);const g=e("span",{class:"mn-chip","data-testid":"model",text:i??t.get("model_info").text});const x=e(
"div",{class:`mnemoscope ${r}`,"data-testid":o,"data-lm-suppress-shortcuts":"true",role:"region","aria-label":a});
const{run:y,row:w,error:b}=G(t,x,m,{start:l,label:c,help:d,stop:h,unit:u});x.addEventListener("keydown",e=>{if(e.
key!=="Enter"||!(e.ctrlKey||e.metaKey))return;e.preventDefault();e.stopPropagation();y.click()});const v=(o,{parts:a,
drawer:r,box:i,draw:l})=>{const c=e("header",{class:"mn-header"},e("h2",{text:s}),e("div",{class:"mn-about"},Y(t,m),
g));x.append(c,...a.filter(e=>e),r.element);f(o,x);const d=()=>{x.setAttribute("data-dark",F(x).dark);l()};m.listen([
"saved","code"],r.draw);m.undo.push(B(d),n(x,i,d),p(t.get("static_key")));r.draw();return()=>{for(const e of m.undo)e(
)}};return{...m,root:x,line:g,run:y,row:w,error:b,open:v}};class J{constructor({label:t,testid:n="strip",choose:s=()=>
{},hover:o=()=>{}}){Object.assign(this,{choose:s,hover:o});this.ids=u("token");this.count=0;this.chosen=0;this.
element=e("div",{class:"mn-strip",role:"listbox","aria-orientation":"horizontal",tabindex:"0","aria-label":t,
"data-testid":n,onkeydown:e=>this.keydown(e)})}update(t,n){this.count=t.length;this.chosen=n;this.element.
replaceChildren(...t.map(({token:t,colour:s,says:o="",strong:a=false},r)=>{const i=m(t);const l=e("span",{class:
`mn-token${r===n?" mn-chosen":""}${a?" mn-strong":""}`,role:"option",id:`${this.ids}-${r}`,"aria-selected":String(r===
n),"data-index":r,text:i,"aria-label":`${r} ${i}${r===n?", chosen":""}${o?`, ${o}`:""}`,onclick:()=>{this.element.
focus({preventScroll:true});this.choose(r)},onmouseenter:()=>this.hover(r),onmouseleave:()=>this.hover(null)});if(s){
l.style.backgroundColor=_(s);l.style.color=R(s)}return l}));if(n>=0)this.element.setAttribute("aria-activedescendant",
`${this.ids}-${n}`);else this.element.removeAttribute("aria-activedescendant")}keydown(e){const t=this.chosen,n={
ArrowLeft:t-1,ArrowRight:t+1,ArrowUp:t-1,ArrowDown:t+1,Home:0,End:this.count-1,PageUp:t-10,PageDown:t+10}[e.key];if(
n===undefined||!this.count||e.ctrlKey||e.metaKey||e.altKey)return;e.preventDefault();e.stopPropagation();this.choose(
Math.max(0,Math.min(this.count-1,n)))}}const Q={absolute:"by size of the score",signed:"by signed score",given:
"given"};const Z=e=>e.filter(e=>!b(e));const ee=(e,t,n,s,o)=>{const a=t.lines[n]??Object.values(t.lines)[0],r=t.sizes,
i=Z(a.flatMap(e=>[e.f,...e.random])).concat([0,1]),l=Z(a.flatMap(e=>[e.f_low,e.f_high])).concat(i),c=Math.max(Math.
min(...i)-.5,Math.min(...l)),d=Math.min(Math.max(...i)+.5,Math.max(...l)),h=.06*(d-c);const u=E(e,{width:s,height:o,
label:`Faithfulness by share of edges kept, ${Q[n]}: `+`${a.map((e,t)=>`${$(r[t])}: ${k(e.f)}`).join(", ")}.`,x:{low:
r[0]*.8,high:1.15,map:Math.log,marks:r.map(e=>[e,$(e)]),title:"share of edges kept (log)"},y:{low:c-h,high:d+h,marks:
O(c,d,5).map(e=>[e,k(e)]),title:"faithfulness f"}});const f=e=>u.Y(Math.max(c-h,Math.min(d+h,e)));for(const t of[0,
1])u.root.append(S("line",{x1:u.left,x2:u.right,y1:u.Y(t),y2:u.Y(t),style:`stroke:${e.muted}`,"stroke-dasharray":
"2 3"}));a.forEach((t,n)=>{const s=u.X(r[n])+3,o=Z(t.random);if(!o.length)return;const a=S("g",{style:`stroke:${e.
other}`,"data-line":"random"},S("title",{},`${v(o.length,"random circuit")}: ${o.map(k).join(", ")}`),S("line",{x1:s,
x2:s,y1:f(Math.min(...o)),y2:f(Math.max(...o)),"stroke-width":1.2}));for(const t of o)a.append(S("rect",{x:s-2.5,y:f(
t)-2.5,width:5,height:5,style:`fill:${e.page}`,"stroke-width":1.3}));u.root.append(a)});const p=a.map((e,t)=>({x:u.X(
r[t])-3,row:e})).filter(({row:e})=>!b(e.f));if(p.length)u.root.append(S("path",{d:`M${p.map(({x:e,row:t})=>`${e.
toFixed(1)} ${f(t.f).toFixed(1)}`).join("L")}`,style:`fill:none;stroke:${e.accent}`,"stroke-width":1.6}));for(const{x:
t,row:n}of p){const s=S("g",{style:`stroke:${e.accent}`,"data-line":"circuit"},S("title",{},`${v(n.n_edges,
"edge")}: ${k(n.f)} ${M(n.f_low,n.f_high)}`));if(!b(n.f_low)&&!b(n.f_high))s.append(S("line",{x1:t,x2:t,y1:f(n.f_low),
y2:f(n.f_high),"stroke-width":1.4}));s.append(S("circle",{cx:t,cy:f(n.f),r:3.8,style:`fill:${e.accent};stroke:${e.
page}`}));u.root.append(s)}return u.root};const te=(e,t)=>L("curve-table",["kept","edges","on a path","f",
"random (least to most)","p","f of all others"],(e.lines[t]??Object.values(e.lines)[0]).map((t,n)=>{const s=Z(t.
random);return[$(e.sizes[n]),t.n_edges.toLocaleString("en"),t.on_path.toLocaleString("en"),[k(t.f),M(t.f_low,t.
f_high)],s.length?M(Math.min(...s),Math.max(...s)):"–",k(t.p),k(t.complement)]}));const ne=(e,t)=>{const n=e.areas[
t]??{},s=t==="signed"?"CPR":"CMD",o=Z(n[`random_${s}`]??[]);const a=b(n[s])?"":` ${s} ${k(n[s])}`+`${b(n[`${s}_low`])?
"":` (${M(n[`${s}_low`],n[`${s}_high`])})`}`+`${o.length?`, random circuits ${M(Math.min(...o),Math.max(...o))}`:
""};`+`${s==="CPR"?" larger is better.":" 0 is best."}`;
return`f = 1: the circuit alone keeps the metric of all edges (${k(e.full)} ${e.unit}), 0: that of none `+`(${k(e.
empty)}); ${v(e.n,"pair")}, ${100*e.level} % intervals over pairs, `+`${v(e.controls,
"random circuit")} of each size beside; p counts those at least as faithful `+`(Monte Carlo).${a}`};const se=[
"ranking","share","n_edges","on_path","f","f_low","f_high","random_least","random_most","p","complement"];const oe=e=>
Object.entries(e.lines).flatMap(([t,n])=>n.map((n,s)=>{const o=Z(n.random),a=o.length?[Math.min(...o),Math.max(...o)]:
[NaN,NaN];return[t,e.sizes[s],n.n_edges,n.on_path,n.f??NaN,n.f_low??NaN,n.f_high??NaN,...a,n.p??NaN,n.complement??
NaN]}));const ae=7;const re=14;const ie=(e,t)=>{const{layers:n,heads:s}=e,o=44,a=Math.max(20,Math.min(62,620/(n+2))),
r=Math.max(11,Math.min(96,(t-o-24)/(s+1.6))),i=Math.max(2.5,Math.min(9,.3*r,.2*a)),l=22,c=l+a*(n+1.5)+46,d=o+r*(s+
1.6),h=l+a*(n+1.1),u=o+r*(s+1.6)/2;const f=t=>{const{layer:i,column:c}=e.place(t);if(i<0)return{x:u,y:h};if(i>=
n)return{x:u,y:l};const d=c===s;return{x:o+(c+(d?1:.5))*r,y:h-a*(i+1+(d?.42:0))+a*.2}};const p=t=>{const{layer:n,kind:
o,head:a}=e.reads(t);if(o==="logits")return{x:u,y:l+8};if(o==="mlp"){const{x:t,y:o}=f(e.nodeAt(n,s));return{x:t,y:o+
i}}const r=o!=="q"&&e.group>1,c=f(e.nodeAt(n,r?a*e.group:a)),d=r?f(e.nodeAt(n,(a+1)*e.group-1)):c;const h={q:-.7,k:0,
v:.7}[o]*i;return{x:(c.x+d.x)/2+(r&&o==="k"?-.35*i:h),y:c.y+i+(r?3:0)}};const m=Array.from({length:e.writers+1},(e,
t)=>f(t));const g=Array.from({length:e.readers},(e,t)=>p(t));return{left:o,rh:a,cw:r,r:i,top:l,base:h,centre:u,width:
Math.ceil(d+8),height:Math.ceil(c),nodes:m,ports:g}};const le=(e,t,n)=>{const s=e.readerOf(n),o=e.writerOf(n),a=t.
nodes[o],r=t.ports[s],i=a.y-(o===0?8:t.r),l=i-r.y;const c=Math.abs(r.x-a.x)<.7*t.cw&&l>1.1*t.rh;const d=c?(o%2?1:-
1)*Math.min(.85*t.cw,6+.16*l):0,h=Math.max(6,.45*l);return[a.x,i,a.x+d,i-h,r.x+d,r.y+h,r.x,r.y]};const ce=([e,t,n,s,o,
a,r,i],l)=>{const c=1-l,d=c*c*c,h=3*c*c*l,u=3*c*l*l,f=l*l*l;return[d*e+h*n+u*o+f*r,d*t+h*s+u*a+f*i]};const de=(e,t,
n)=>{const s=Math.ceil(t/re)+1,o=Math.ceil(n/re)+1,a=new Map;e.forEach((e,t)=>{const n=Math.hypot(e[6]-e[0],e[7]-e[
1])+Math.abs(e[2]-e[0]),r=Math.max(2,Math.ceil(n/ae));let i=-1;for(let n=0;n<=r;n++){const[l,c]=ce(e,n/r),d=Math.
floor(l/re),h=Math.floor(c/re);if(d<0||h<0||d>=s||h>=o)continue;const u=h*s+d;if(u===i)continue;i=u;const f=a.get(u);
if(f)f.push(t);else a.set(u,[t])}});const r=(e,t,n)=>{let s=Infinity,[o,a]=ce(e,0);for(let r=1;r<=32;r++){const[i,l]=
ce(e,r/32),c=i-o,d=l-a,h=Math.max(0,Math.min(1,((t-o)*c+(n-a)*d)/(c*c+d*d||1)));s=Math.min(s,Math.hypot(t-o-h*c,n-a-
h*d));o=i;a=l}return s};const i=(t,n,o=6)=>{const i=new Set;let l=-1,c=o;for(let e=Math.floor((n-o)/re);e<=Math.floor(
(n+o)/re);e++)for(let n=Math.floor((t-o)/re);n<=Math.floor((t+o)/re);n++)for(const t of a.get(e*s+n)??[])i.add(t);for(
const s of[...i].sort((e,t)=>e-t)){const o=r(e[s],t,n);if(o<c-.75){c=o;l=s}}return l};return{nearest:i}};const he=e=>{
if(!e?.scores)return null;const{layers:t,heads:n,kv:s,parallel:o}=e,a=n+2*s+1,r=t*a+1,i=1+t*(n+1),l=n/s;const c=e=>{
if(e===r-1)return i;const t=1+Math.floor(e/a)*(n+1);return e%a===a-1&&!o?t+n:t};const d=new Int32Array(r+1);for(let e=
0;e<r;e++)d[e+1]=d[e]+c(e);const h=U(e.scores);const u=e=>{let t=0,n=r-1;while(t<n){const s=t+n+1>>1;if(d[s]<=e)t=s;
else n=s-1}return t};const f=e=>e-d[u(e)];const p=e=>e===0?{layer:-1,column:-1}:e===i?{layer:t,column:-1}:{layer:Math.
floor((e-1)/(n+1)),column:(e-1)%(n+1)};const m=(e,s)=>e<0?0:e>=t?i:1+e*(n+1)+s;const g=e=>{if(e===0)return"input";if(
e===i)return"logits";const{layer:t,column:s}=p(e);return s===n?`m${t}`:`a${t}.h${s}`};const x=e=>{if(e===r-1)return{
layer:t,kind:"logits",head:-1};const o=Math.floor(e/a),i=e%a;if(i===a-1)return{layer:o,kind:"mlp",head:-1};if(i<
n)return{layer:o,kind:"q",head:i};return i<n+s?{layer:o,kind:"k",head:i-n}:{layer:o,kind:"v",head:i-n-s}};const y=e=>{
const{layer:t,kind:n,head:s}=x(e);if(n==="logits")return"logits";if(n==="mlp")return`m${t}`;return`a${t}.${n!=="q"&&l>
1?"kv":"h"}${s}<${n}>`};const w=e=>{const{layer:t,kind:s,head:o}=x(e);if(s==="logits")return[i];if(s==="mlp")return[m(
t,n)];const a=s==="q"?o:o*l,r=s==="q"?1:l;return Array.from({length:r},(e,n)=>m(t,a+n))};const b=e=>`${g(f(e))}->${y(
u(e))}`;const v=new Map;for(let e=0;e<r;e++)v.set(y(e),e);const k=new Map;for(let e=0;e<=i;e++)k.set(g(e),e);const $=
e=>{const[t,n]=String(e).split("->"),s=v.get(n),o=k.get(t);return s===undefined||o===undefined||o>=c(s)?-1:d[s]+o};
return{...e,scores:h,writers:i,readers:r,group:l,readerOf:u,writerOf:f,reads:x,readerName:y,nodeName:g,nodesOf:w,
nameOf:b,edgeOf:$,place:p,nodeAt:m,nodeOf:e=>k.get(e)??-1}};const ue=(e,t)=>{const{scores:n}=e,s=Float64Array.from(n,
e=>Number.isNaN(e)?-Infinity:t==="absolute"?Math.abs(e):e);const o=new Uint32Array(n.length).map((e,t)=>t).filter(e=>
s[e]>-Infinity);return o.sort((e,t)=>s[t]-s[e]||e-t)};const fe=(e,t,n)=>[...t].filter(t=>e.writerOf(t)===n||e.nodesOf(
e.readerOf(t)).includes(n)).sort((t,n)=>Math.abs(e.scores[n])-Math.abs(e.scores[t]));const pe=(e,t)=>Math.max(1,Math.
round(t**e));const me=(e,t)=>t>1?Math.log(Math.max(1,e))/Math.log(t):1;const ge=10;const xe=(e,t)=>t?Math.sqrt(Math.
min(1,Math.abs(e)/t)):0;const ye=e=>.5+4*e*e+.7*e;const we=(e,t,n)=>e.diverging(.5+t*(.24+.26*n));const be=(e,t,n)=>{
const s=Array.from({length:2*ge},(e,t)=>({sign:t%2?1:-1,s:(Math.floor(t/2)+.5)/ge,edges:[]}));t.forEach((t,o)=>{
const a=e.scores[t],r=Math.min(ge-1,Math.floor(xe(a,n)*ge));s[2*r+(a>=0?1:0)].edges.push(o)});return s.filter(e=>e.
edges.length)};class ve{constructor({label:t,testid:n,hover:s=()=>{},selectNode:o,selectEdge:a,say:r,tip:i}){Object.
assign(this,{onHover:s,selectNode:o,selectEdge:a,say:r,tip:i});this.graph=null;this.node=-1;this.edge=-1;this.walk=-1;
this.hovered={edge:-1,node:-1};this.strokes=0;const l=u("circuit");this.spoken=e("div",{role:"option",id:l,class:
"mn-hidden","data-testid":`${n}-spoken`});this.base=e("canvas",{"aria-hidden":"true"});this.overlay=e("canvas",{class:
"mn-overlay","aria-hidden":"true"});this.stack=e("div",{class:"mn-stack"},this.base,this.overlay);this.tipBox=e("div",
{class:"mn-tip","aria-hidden":"true","data-testid":`${n}-tip`,hidden:true});this.element=e("div",{class:"mn-map",role:
"listbox",tabindex:"0","aria-label":t,"aria-activedescendant":l,"data-testid":n,onkeydown:e=>this.keydown(e),onfocus:(
)=>{this.drawOverlay();this.announce()},onblur:()=>{this.hideTip();this.drawOverlay()}},this.spoken,e("div",{class:
"mn-scroll"},this.stack),this.tipBox);this.stack.addEventListener("mousemove",e=>this.mousemove(e));this.stack.
addEventListener("mouseleave",()=>{this.hovered={edge:-1,node:-1};this.hideTip();this.drawOverlay();this.onHover(-1,-
1)});this.stack.addEventListener("click",e=>{const{edge:t,node:n}=this.at(e);this.element.focus({preventScroll:true});
this.hideTip();if(n>=0)this.choose(n);else if(t>=0)this.selectEdge(t);else this.choose(-1)})}update({graph:e,kept:t,
node:n,edge:s},o){if(e!==this.graph||n!==this.node)this.walk=-1;const a=e!==this.graph||t!==this.kept||o!==this.width;
Object.assign(this,{graph:e,kept:t,node:n,edge:s,width:o});if(a||F(this.element).dark!==this.theme?.dark)this.draw();
this.incident=n<0?[]:fe(e,t,n);this.drawOverlay();this.announce()}size(e){const{width:t,height:n}=this.layout,s=Math.
min(window.devicePixelRatio||1,t*n>4e6?1:2);e.width=Math.round(t*s);e.height=Math.round(n*s);e.style.width=`${t}px`;e.
style.height=`${n}px`;const o=e.getContext("2d");o.setTransform(s,0,0,s,0,0);o.clearRect(0,0,t,n);return o}trace(e,[t,
n,s,o,a,r,i,l]){e.moveTo(t,n);e.bezierCurveTo(s,o,a,r,i,l)}draw(){if(!this.graph||!this.element.isConnected)return;
const{graph:e,kept:t}=this;this.theme=F(this.element);this.layout=ie(e,this.width);this.most=w(e.scores);this.curves=[
...t].map(t=>le(e,this.layout,t));this.index=null;clearTimeout(this.waiting);this.waiting=setTimeout(()=>this.
edgeIndex(),100);this.used=new Uint8Array(e.writers+1);for(const n of t){this.used[e.writerOf(n)]=1;for(const t of e.
nodesOf(e.readerOf(n)))this.used[t]=1}const n=this.size(this.base);this.size(this.overlay);this.strokes=0;n.lineCap=
"round";for(const{sign:s,s:o,edges:a}of be(e,t,this.most)){n.strokeStyle=_(we(this.theme,s,o));n.globalAlpha=.35+.6*o;
n.lineWidth=ye(o);n.beginPath();for(const e of a)this.trace(n,this.curves[e]);n.stroke();this.strokes++}n.globalAlpha=
1;this.drawNodes(n);this.drawLabels(n);this.drawOverlay()}drawNodes(e){const{graph:t,layout:n,theme:s}=this,{r:o}=n;
for(const a of[0,1]){e.beginPath();n.nodes.forEach(({x:n,y:s},r)=>{if(r===0||r===t.writers||this.used[r]!==a)return;
if(t.place(r).column===t.heads)e.rect(n-o,s-o,2*o,2*o);else{e.moveTo(n+o,s);e.arc(n,s,o,0,7)}});e.fillStyle=s.
background;e.fill();e.globalAlpha=a?1:.35;e.strokeStyle=a?s.text:s.muted;e.lineWidth=a?1.4:1;e.stroke();this.
strokes++;e.globalAlpha=1}e.textAlign="center";e.textBaseline="middle";e.font=`11px ${s.font}`;for(const[o,a]of[[0,
"input"],[t.writers,"logits"]]){const{x:t,y:r}=n.nodes[o];e.fillStyle=s.background;e.fillRect(t-26,r-8,52,16);e.
strokeStyle=s.text;e.strokeRect(t-26,r-8,52,16);e.fillStyle=s.text;e.fillText(a,t,r);this.strokes++}}drawLabels(e){
const{graph:t,layout:n,theme:s}=this,o=n.base+24;e.font=`11px ${s.mono}`;e.fillStyle=s.text;e.textAlign="right";
const a=Math.ceil(13/n.rh);for(let s=0;s<t.layers;s+=a)e.fillText(String(s),n.left-12,n.nodes[t.nodeAt(s,0)].y);e.
textAlign="center";const r=Math.ceil(22/n.cw);for(let s=0;s<t.heads;s+=r)e.fillText(String(s),n.nodes[t.nodeAt(0,s)].
x,o);e.fillText("MLP",n.nodes[t.nodeAt(0,t.heads)].x,o);e.fillStyle=s.muted;e.font=`11px ${s.font}`;e.fillText("head",
n.left+.5*t.heads*n.cw,o+15);e.save();e.translate(9,(n.top+n.base)/2);e.rotate(-Math.PI/2);e.fillText("layer",0,0);e.
restore()}drawOverlay(){if(!this.layout||!this.graph)return;const e=this.overlay.getContext("2d"),{theme:t,layout:n}=
this;e.clearRect(0,0,n.width,n.height);this.overStrokes=0;const s=(s,o,a,r=[])=>{if(!s.length)return;e.beginPath();
for(const t of s)this.trace(e,le(this.graph,n,t));e.setLineDash(r);e.lineCap="round";for(const[n,s]of[[t.background,
3],[o,0]]){e.strokeStyle=n;e.lineWidth=a+s;e.stroke();this.overStrokes++}e.setLineDash([])};const o=(t,s,o,a=[])=>{if(
t<0)return;const{x:r,y:i}=n.nodes[t],l=t===0||t===this.graph.writers?30:n.r+4,c=l===30?12:l;e.setLineDash(a);e.
strokeStyle=s;e.lineWidth=o;e.strokeRect(r-l,i-c,2*l,2*c);e.setLineDash([]);this.overStrokes++};for(const{sign:e,s:n,
edges:o}of be(this.graph,this.incident??[],this.most))s(o.map(e=>this.incident[e]),_(we(t,e,n)),ye(n)+.5);if(this.
edge>=0)s([this.edge],t.text,3.2);if(this.walk>=0&&this.incident?.[this.walk]!==undefined)s([this.incident[this.
walk]],t.accent,3,[7,4]);if(this.hovered.edge>=0)s([this.hovered.edge],t.text,2.4);o(this.hovered.node,t.text,1);o(
this.node,document.activeElement===this.element?t.accent:t.text,2)}edgeIndex(){this.index??=de(this.curves,this.
layout.width,this.layout.height);return this.index}at(e){const t={edge:-1,node:-1};if(!this.layout)return t;const n=
this.overlay.getBoundingClientRect(),s=e.clientX-n.left,o=e.clientY-n.top,{nodes:a,r:r}=this.layout;let i=-1,l=r+3;a.
forEach((e,t)=>{const n=t===0||t===this.graph.writers,a=n?Math.abs(s-e.x)<27&&Math.abs(o-e.y)<9?0:Infinity:Math.hypot(
s-e.x,o-e.y);if(a<l){l=a;i=t}});if(i>=0)return{edge:-1,node:i};const c=this.edgeIndex().nearest(s,o);return c<0?t:{
edge:this.kept[c],node:-1}}mousemove(e){const t=this.at(e);if(t.edge!==this.hovered.edge||t.node!==this.hovered.node){
this.hovered=t;this.drawOverlay();this.onHover(t.edge,t.node)}if(t.edge<0&&t.node<0)return this.hideTip();const n=
this.element.getBoundingClientRect();this.showTip(t,e.clientX-n.left,e.clientY-n.top)}showTip({edge:t,node:n},s,o){
const a=this.tip(t,n);this.tipBox.replaceChildren(...a.map(([t,n])=>e("div",{},t?e("span",{class:"mn-tip-label",text:
`${t} `}):null,e("span",{text:n}))));this.tipBox.hidden=false;const r=this.element.getBoundingClientRect(),{
offsetWidth:i,offsetHeight:l}=this.tipBox;this.tipBox.style.left=`${Math.max(0,s+14+i>r.width?s-i-14:s+14)}px`;this.
tipBox.style.top=`${Math.max(0,o+14+l>r.height?o-l-14:o+14)}px`}hideTip(){this.tipBox.hidden=true}announce(){if(!this.
graph)return;const e=this.walk>=0?this.incident[this.walk]:-1;this.spoken.setAttribute("aria-selected",String(this.
node>=0));this.spoken.setAttribute("aria-label",this.say(this.node,e??-1,this.walk,this.incident?.length??0))}choose(
e){this.walk=-1;this.selectNode(e)}keydown(e){if(!this.graph||e.ctrlKey||e.altKey||e.metaKey)return;const t={ArrowUp:[
1,0],ArrowDown:[-1,0],ArrowLeft:[0,-1],ArrowRight:[0,1]}[e.key],{graph:n}=this;if(t&&this.walk>=0){const t=e.key===
"ArrowDown"||e.key==="ArrowRight"?1:-1;this.walk=Math.max(0,Math.min(this.incident.length-1,this.walk+t))}else if(t){
const{layer:e,column:s}=this.node<0?{layer:n.layers,column:-1}:n.place(this.node);const o=Math.max(-1,Math.min(n.
layers,e+(this.node<0?0:t[0])));const a=s<0?this.column??0:Math.max(0,Math.min(n.heads,s+t[1]));this.column=a;this.
choose(n.nodeAt(o,a))}else if(e.key==="Home"||e.key==="End"){this.choose(e.key==="Home"?0:n.writers)}else if(e.key===
"Enter"||e.key===" "){if(this.walk>=0)this.selectEdge(this.incident[this.walk]);else if(this.incident?.length)this.
walk=0}else if(e.key==="Escape"&&(this.walk>=0||this.node>=0)){if(this.walk>=0)this.walk=-1;else this.choose(-
1)}else return;e.preventDefault();e.stopPropagation();this.hideTip();this.drawOverlay();this.announce()}}const ke=760;
const $e=(e,t,{title:n,subtitle:s,unit:o})=>{const a=ie(e,ke),r=44,i=a.height+r+24,l=w(e.scores),c=S("svg",{xmlns:
"http://www.w3.org/2000/svg",width:ke,height:i,viewBox:`0 0 ${ke} ${i}`,"font-family":
"DejaVu Sans, Arial, sans-serif","font-size":10});const d=(e,t,n,s={})=>S("text",{x:e,y:t,fill:N.text,...s},n);c.
append(S("rect",{width:"100%",height:"100%",fill:N.page}),d(12,18,n,{"font-size":12,"font-weight":"bold"}),d(12,34,s,{
fill:N.muted}));const h=S("g",{transform:`translate(0 ${r})`});for(const{sign:n,s:s,edges:o}of be(e,t,l)){const r=o.
map(n=>{const[s,o,...r]=le(e,a,t[n]).map(e=>Number(e.toFixed(1)));return`M${s} ${o}C${r.join(" ")}`});h.append(S(
"path",{d:r.join(""),fill:"none",stroke:_(we(P.light,n,s)),"stroke-width":ye(s).toFixed(2),opacity:(.35+.6*s).toFixed(
2)}))}const{r:u}=a;a.nodes.forEach(({x:t,y:n},s)=>{const o={fill:N.page,stroke:N.text};if(s===0||s===e.writers)h.
append(S("rect",{x:t-26,y:n-8,width:52,height:16,...o}),d(t,n+3.5,s?"logits":"input",{"text-anchor":"middle"}));
else if(e.place(s).column===e.heads)h.append(S("rect",{x:t-u,y:n-u,width:2*u,height:2*u,...o}));else h.append(S(
"circle",{cx:t,cy:n,r:u,...o}))});for(let t=0;t<e.layers;t+=Math.ceil(13/a.rh))h.append(d(a.left-12,a.nodes[e.nodeAt(
t,0)].y+3.5,t,{"text-anchor":"end"}));const f=a.base+26;for(let t=0;t<e.heads;t+=Math.ceil(22/a.cw))h.append(d(a.
nodes[e.nodeAt(0,t)].x,f,t,{"text-anchor":"middle"}));h.append(d(a.nodes[e.nodeAt(0,e.heads)].x,f,"MLP",{
"text-anchor":"middle"}),d(a.left+e.heads*a.cw/2,f+14,"head",{"text-anchor":"middle"}),S("text",{transform:
`translate(12 ${a.base/2}) rotate(-90)`,fill:N.muted},"layer"));c.append(h);const p=i-12;[-1,1].forEach((e,t)=>{c.
append(S("line",{x1:12+270*t,x2:40+270*t,y1:p-4,y2:p-4,stroke:_(we(P.light,e,1)),"stroke-width":ye(1)}),d(46+270*t,p,
`${e>0?"speaks for":"speaks against"} the answer, up to ${x(e*l)} ${o}`))});return{text:(new XMLSerializer).
serializeToString(c),width:ke,height:i}};const Me=12;const Ae=(t,...n)=>[e("dt",{text:t}),e("dd",{},...n)];const Ne=(
t,n)=>{if(!t||b(t.mean))return[e("span",{text:"no value"})];const s=M(t.low,t.high,x);return[e("strong",{text:x(t.
mean)}),` ${n}`,e("span",{class:"mn-why",text:s?`95 % interval over ${v(t.n,"pair")}: ${s}`:`${v(t.n,"pair")}; ${t.
kind}`})]};const Se=t=>{if(!t.edge)return[e("p",{class:"mn-note",text:
"Click an edge, or choose one below: its exact effect is run."})];if(t.status==="error"&&!t.writer)return[c(
`There is no edge ${t.edge}`,t.text,"edge-error")];const n=t.status==="running"?[e("span",{class:"mn-note",role:
"status",text:"running …"})]:t.status==="error"?[c("The exact effect failed",t.text,"edge-error")]:Ne(t.exact,t.unit);
const s=t.exact&&t.gap?[...Ae("of the gap",`${$(t.exact.mean/t.gap)} of clean − corrupted`)]:[];return[e("dl",{class:
"mn-facts","data-testid":"edge-facts"},...Ae("edge",e("code",{text:`${t.writer} → ${t.reader}`})),...Ae("score",...Ne(
t.score,t.unit)),...b(t.rank)?[]:Ae("rank",`${t.rank.toLocaleString("en")} of ${t.of.toLocaleString("en")} by size`),
...Ae("exact effect",...n),...s,...t.chosen?Ae("checked",t.chosen):[])]};const Oe=(t,n,s,o,a)=>e("ol",{class:
"mn-edges","data-testid":"edge-list"},...n.slice(0,Me).map(n=>{const r=t.scores[n],i=t.nameOf(n).replace("->"," → ");
return e("li",{},e("button",{type:"button",class:`mn-edge${n===s?" mn-chosen":""}`,"data-edge":t.nameOf(n),
"aria-pressed":String(n===s),onclick:()=>a(n)},e("span",{class:`mn-edge-bar ${r<0?"mn-against":"mn-for"}`,
"aria-hidden":"true",style:`width:${o?(100*Math.abs(r)/o).toFixed(1):0}%`}),e("code",{text:i}),e("span",{class:"mn-p",
text:x(r)})))}));const Ee=1e3;const Ce=[["inputs","gradient along the inputs (EAP-IG)"],["clean-corrupted",
"gradients of both runs"],["gim","gradient interactions (GIM)"]];const Le=["logit_diff","logprob_diff","prob",
"logprob","kl"].map(e=>[e,e]);const Te=[["counterfactual","the corrupted run’s"],["mean","the mean"],["zero",
"nothing"]];function _e({model:n,el:s}){const o=V(n,{title:"Circuit",testid:"circuit-view",name:"Circuit view",kind:
"mn-circuit",label:"Run",help:"Score every edge",stop:"End after the batch in progress; pairs that are finished stay",
unit:"Batches",start:()=>h("run",{fields:S()})});const{send:h,listen:u,set:f,root:p,row:b,error:k}=o,M=e=>n.get(e);
const{choose:N,shown:S}=K(n,u,f);let O=null,E=new Uint32Array(0),C=new Uint32Array(0),L="";const T=e=>x(O.scores[e]);
const _=e=>E.indexOf(e)+1;const j=new ve({label:
"Graph of edges. Arrow keys go from node to node, Enter goes into a node’s edges, there arrows walk and Enter "+
"runs the exact effect, Escape leaves.",testid:"circuit",say:(e,t,n,s)=>t>=0?`edge ${n+1} of ${s}: ${O.nameOf(t).
replace("->"," to ")}, score ${T(t)}`:e>=0?`${O.nodeName(e)}, ${v(s,"edge")} shown`:`no node chosen, ${v(C.length,
"edge")} shown`,tip:(e,t)=>e>=0?[["",O.nameOf(e).replace("->"," → ")],["writer",O.nodeName(O.writerOf(e))],["reader",
O.readerName(O.readerOf(e))],["score",`${T(e)} ${O.unit}`],["rank",`${_(e)} of ${O.scored.toLocaleString("en")}`]]:[[
"",O.nodeName(t)],["",`${v(fe(O,C,t).length,"edge")} shown`]],selectNode:e=>f({node:e<0?"":O.nodeName(e)}),selectEdge:
e=>f({edge:O.nameOf(e)})});const R=new D("colour-bar"),z=e("output",{class:"mn-note","data-testid":"kept","aria-live":
"polite"}),P=e("p",{class:"mn-note","data-testid":"check"}),F=e("input",{type:"range",min:0,max:Ee,step:1,
"data-testid":"threshold","aria-label":"Edges shown, on a log scale",oninput:()=>f({shown:pe(F.value/Ee,O?.most??
1)})});const B=e("div",{"data-testid":"edge-side","aria-live":"polite"}),I=e("div"),U=e("h3",{"data-testid":
"list-title"});const q=()=>{if(!p.isConnected)return;ke.hidden=!O;Ae.hidden=je.element.hidden=!O;ye.hidden=!!O||!!M(
"error").text||M("status")==="running";we.hidden=!!O||M("status")!=="running";if(!O)return;const e=Math.min(M(
"shown"),O.most),t=`${O.run} ${e} ${M("ranking")}`;if(t!==L){L=t;C=E.slice(0,Math.max(1,e))}const n=Math.min(p.
clientWidth-30||900,1400),s=n>820;ke.classList.toggle("mn-one",!s);j.update({graph:O,kept:C,node:O.nodeOf(M("node")),
edge:O.edgeOf(M("edge"))},s?Math.round(n*.62):n-8);const o=w(O.scores);R.update({ramp:j.theme.diverging,low:x(-o),
middle:"0",high:x(o),title:`score, ${O.unit}; above 0 speaks for the answer`});if(document.activeElement!==F)F.value=
Math.round(Ee*me(e,O.most));F.setAttribute("aria-valuetext",v(e,"edge"));H(e);Y();xe()};const H=e=>{const n=M("kept"),
s=n.n===e;t(z,`${v(e,"edge")} of ${O.edges.toLocaleString("en")}`+`${s?`; ${n.on_path.toLocaleString(
"en")} on a path from input to logits`:""}`+`${s?`; ${$(n.share)} of all scores’ size, the least ${x(n.least)}`:""}`+
`${O.most<O.scored?`; at most ${O.most.toLocaleString("en")} are drawn`:""}`);t(P,O.check);P.hidden=!O.check};const Y=
()=>{B.replaceChildren(...Se(M("detail")));const n=O.nodeOf(M("node")),s=n<0?[...C.slice(0,Me)]:fe(O,C,n),o=n<0?C.
length:s.length;t(U,n<0?"The largest edges":`Edges of ${O.nodeName(n)}: ${o.toLocaleString("en")} shown`);I.
replaceChildren(Oe(O,s,O.edgeOf(M("edge")),w(O.scores),e=>f({edge:O.nameOf(e)})),...o>Me?[e("p",{class:"mn-note",text:
`and ${(o-Me).toLocaleString("en")} more on the graph`})]:[])};const G=new J({label:
"Tokens of the chosen pair, the clean prompt; where the corrupted one differs it stands behind a bar",choose:e=>{Z=e;
ie()}});let Z=-1;const ae=e("select",{"data-testid":"pair",onchange:()=>f({pair:Number(ae.value)})}),re=e("div",{
class:"mn-note","data-testid":"readout","aria-live":"polite"});const ie=()=>{const e=M("tokens"),n=e.clean??[];be.
hidden=!n.length&&!e.text;if(Z>=n.length)Z=-1;const s=M("graph").names??Array.from({length:e.of??0},(e,t)=>
`pair ${t}`);if(ae.length!==s.length||ae.dataset.run!==String(M("graph").run))ae.replaceChildren(...s.map((e,t)=>a(
String(t),`${t}: ${g(m(e),60)}`)));ae.dataset.run=String(M("graph").run);ae.value=String(e.pair??0);G.update(n.map((t,
n)=>{const s=e.corrupted[n],o=s!==t;return{token:o?`${t}|${s}`:t,strong:o,says:o?`corrupted ${m(s)}`:""}}),Z);const o=
`answer ${m(e.answer??"")}${e.foil?`, foil ${m(e.foil)}`:""}`;t(re,e.text??(Z<0?`${v(n.length,"token")}; ${o}`:
`position ${Z}: clean ${m(n[Z])}, `+`corrupted ${m(e.corrupted[Z])}; ${o}`))};const le=W("judge",
"Compute faithfulness",()=>h("judge")),ce=W("stop-judging","Stop",()=>h("stop judging")),de=e("span",{class:"mn-note",
role:"status","data-testid":"judging"}),ge=e("div",{"data-testid":"curve"});const xe=()=>{const n=M("curve"),s=n.
status??"idle";le.disabled=s==="running"||s==="stopping"||M("status")==="running";ce.disabled=s!=="running";t(de,s===
"error"?"":n.text??"");const o=M("ranking");if(s==="error"){ge.replaceChildren(c("Faithfulness could not be computed",
n.text,"curve-error"));return}if(s!=="complete"){const t=
"How much of the metric circuits of each size keep by themselves, beside random ones.";ge.replaceChildren(e("p",{
class:"mn-note",text:t}));return}const a=Math.max(300,Math.min(640,(p.clientWidth||900)-40)),r=ee(A,n,o,a,270);ge.
replaceChildren(...n.found_on?[e("p",{class:"mn-warning","data-testid":"same-pairs",text:`The edges were found on ${n.
found_on} of these ${v(n.n,"pair")}: f is too high. `+"Give others (held_out=)."})]:[],e("p",{class:"mn-caption",text:
`Circuits ${Q[o]}: filled circles; random ones: open squares.`}),r,e("p",{class:"mn-note",text:ne(n,o)}),te(n,o))};
const ye=l("No edges yet",
"Press Run: every edge between two parts of the model gets a score, and the largest are drawn here.");const we=e(
"div",{class:"mn-empty","data-testid":"busy"},e("strong",{text:"Scoring every edge …"}));const be=i({label:
"Tokens of a pair",title:"A pair",beside:[e("label",{class:"mn-check"},"shown ",ae)]},G.element,re);const ke=e("div",{
class:"mn-body"},e("section",{class:"mn-graph","aria-label":"Graph"},e("div",{class:"mn-threshold"},d("Edges shown",
null,F),r("Kept are the largest",N("ranking",[["absolute","by size"],["signed","for the answer"]])),R.element),z,j.
element,P),e("section",{class:"mn-side","aria-label":"Edges"},e("h3",{text:"The chosen edge"}),B,U,I));const Ae=i({
label:"Faithfulness",title:"Faithfulness",beside:[le,ce,de]},ge);const Ne=()=>{O=he(M("graph"));E=O?ue(O,M(
"ranking")):new Uint32Array(0);L="";q()};u(["graph","ranking"],Ne);u(["shown","node","edge","detail","error",
"status"],q);u(["kept"],()=>O&&H(Math.min(M("shown"),O.most)));u(["curve"],()=>O&&p.isConnected&&xe());u(["tokens",
"graph"],ie);const _e=()=>y(["edge","writer","reader","score"])+[...C].map(e=>y([O.nameOf(e),O.nodeName(O.writerOf(
e)),O.readerName(O.readerOf(e)),O.scores[e]])).join("")+(M("curve").status==="complete"?"\r\n"+y(se)+oe(M("curve")).
map(y).join(""):"");const je=X(n,h,{stem:()=>`circuit_${C.length}`,figure:()=>$e(O,C,{title:`${M("model_info").
name}: ${C.length} of ${O.edges} edges`,subtitle:`${O.method}, ${O.metric}, ${O.ablation}, ${v(O.pairs,"pair")}`,unit:
O.unit}),table:_e,example:"edges.zarr, edges.nc, circuit.json"});const Re=o.open(s,{parts:[e("div",{class:
"mn-controls"},r("Scores by",N("method",Ce)),r("Metric",N("metric",Le)),r("A cut edge carries",N("ablation",Te)),b),k,
ye,we,ke,be,Ae],drawer:je,box:p,draw:q});Ne();ie();return Re}var je={render:_e};export{je as default};
