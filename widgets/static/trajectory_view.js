// Built by npm run build from 13 files, sha256 0dd671ca3703785acf5e6e7869900429629da128af7a3c059436e0046226a4f1
const t=(t,e={},...n)=>{const a=document.createElement(t);for(const[t,n]of Object.entries(e)){if(n===null||n===
undefined||n===false)continue;if(t==="text")a.textContent=n;else if(t.startsWith("on"))a.addEventListener(t.slice(2),
n);else if(t==="value")a.value=n;else a.setAttribute(t,n===true?"":n)}a.append(...n.filter(t=>t!==null&&t!==
undefined));if(a.matches("input, select, textarea, button, summary, [tabindex]"))a.setAttribute(
"data-lm-suppress-shortcuts","true");return a};const e=(t,e)=>{if(t.textContent!==e)t.textContent=e};const n=(t,e,n)=>
{let a=0;const s=new ResizeObserver(()=>{const s=t.isConnected?e.clientWidth:0,o=Math.abs(s-a)>4;a=s;if(!s)return;if(
o)n();t.setAttribute("data-ready","true")});s.observe(e);return()=>s.disconnect()};const a=(e,n,a)=>{const s=URL.
createObjectURL(a instanceof Blob?a:new Blob([a],{type:n}));const o=t("a",{href:s,download:e});document.body.append(
o);o.click();o.remove();setTimeout(()=>URL.revokeObjectURL(s),1e4)};const s=async(t,e)=>{try{await navigator.
clipboard.writeText(t)}catch{e.focus();e.select();document.execCommand("copy")}};const o=(e,n)=>t("option",{value:e,
text:n});const r=(e,n,a)=>t("label",{class:"mn-field"},t("span",{class:"mn-label",text:e}),n,null);const i=({label:e,
title:n,beside:a=[],...s},...o)=>t("section",{class:"mn-section","aria-label":e,...s},t("div",{class:"mn-side-head"},
typeof n==="string"?t("h3",{text:n}):n,...a),...o);const l=(e,n,a={"data-testid":"empty"})=>t("div",{class:"mn-empty",
...a},t("strong",{text:e}),t("p",{text:n}));const c=(e,n,a)=>t("div",{class:"mn-error",role:"alert","data-testid":a},
t("strong",{text:e}),t("pre",{text:n}));const d=(e,n,...a)=>t("div",{class:"mn-field mn-slide"},t("span",{class:
"mn-label"},e,n),...a);let h=0;const p=t=>`mn-${t}-${++h}-${Math.random().toString(36).slice(2,7)}`;const m=(t,e)=>{t.
append(e);e.addEventListener("pointerdown",t=>{const e=t.button===0&&t.target.closest("button");if(!e||e.
disabled)return;const n=a=>{if(a.pointerId!==t.pointerId)return;document.removeEventListener("pointerup",n,true);
document.removeEventListener("pointercancel",n,true);const s=Math.hypot(a.clientX-t.clientX,a.clientY-t.clientY)<6;if(
a.type==="pointerup"&&s&&!e.contains(a.target)&&e.isConnected)e.click()};document.addEventListener("pointerup",n,
true);document.addEventListener("pointercancel",n,true)})};const u=e=>{if(!e||!/^[\w-]+$/.test(e))return()=>{};
const n=t("style",{text:`.jp-OutputArea-child:has(.mnemoscope-static-${e}), .mnemoscope-static-${e} { display: none `+
`!important; }`});document.head.append(n);return()=>n.remove()};const f=t=>{if(t==="")return"∅";return t.replace(/ /g,
"·").replace(/\r?\n/g,"⏎").replace(/\t/g,"⇥").replace(
/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,t=>`‹${t.codePointAt(0).toString(16).
padStart(4,"0")}›`)};const g=(t,e)=>[...t].length>e?[...t].slice(0,e-1).join("")+"…":t;const b=t=>t.map(t=>typeof t===
"string"?`"${t.replace(/"/g,'""')}"`:Number.isNaN(t)?"":String(t)).join(",")+"\r\n";const y=t=>t===null||t===
undefined||Number.isNaN(t);const w=t=>{if(y(t))return"–";const e=Math.abs(t);return(e&&(e<1e-4||e>=1e6)?t.
toExponential(1):String(Number(t.toPrecision(3)))).replace(/-/g,"−")};const x=t=>y(t)?"–":`${w(100*t)} %`;const v=(t,
e,n=w)=>y(t)||y(e)?"":`${n(t)} to ${n(e)}`;const k=t=>f(t).replace(/·/g," ");const $={text:"var(--mn-text)",muted:
"var(--mn-muted)",line:"var(--mn-line)",accent:"var(--mn-accent)",other:"var(--mn-other)",page:"var(--mn-bg)"};
const M={text:"#1c1c1c",muted:"#555555",line:"#d0d0d0",accent:"#0b61b8",other:"#b35900",page:"#ffffff"};const L=(t,e={
},...n)=>{const a=document.createElementNS("http://www.w3.org/2000/svg",t);for(const[t,n]of Object.entries(e))if(!y(
n))a.setAttribute(t,n);a.append(...n);return a};const A=t=>`fill:${t.text};stroke:${t.
page};stroke-width:3px;paint-order:stroke`;const E=t=>({text:(new XMLSerializer).serializeToString(t),width:Number(t.
getAttribute("width")),height:Number(t.getAttribute("height"))});const j=(t,e,n)=>{const a=(e-t)/Math.max(1,n)||1,s=
10**Math.floor(Math.log10(a)),o=s*([1,2,5].find(t=>t*s>=a*.999)??10),r=[];for(let n=Math.ceil(t/o-1e-9);n*o<=e+1e-9*o;
n++)r.push(Number((n*o).toPrecision(12))||0);return r};const C=(t,{width:e,height:n,title:a,label:s,x:o,y:r,left:i=
54})=>{const l=e-14,c=a?30:14,d=n-38,h=(e,n)=>L("text",{style:`fill:${t.muted}`,"font-size":10.5,...e},n);const p=(t,
e,n)=>{const a=t.map??(t=>t),s=a(t.low),o=a(t.high);return t=>e+(a(t)-s)/(o-s||1)*(n-e)};const m=p(o,i,l),u=p(r,d,c);
const f=L("svg",{xmlns:"http://www.w3.org/2000/svg",viewBox:`0 0 ${e} ${n}`,width:e,height:n,role:"img","aria-label":
s,"font-family":"system-ui, DejaVu Sans, Arial, sans-serif","font-size":11});if(a)f.append(h({x:2,y:13,"font-size":12,
"font-weight":600,style:`fill:${t.text}`},a));for(const[e,n]of r.marks)f.append(L("line",{x1:i,x2:l,y1:u(e),y2:u(e),
style:`stroke:${t.line}`,"stroke-width":.7}),h({x:i-6,y:u(e)+3.5,"text-anchor":"end"},n));let g=-99;for(const[t,
n]of o.marks){const a=m(t),s=n.length*3+3;if(a-s<g)continue;g=a+s;f.append(h({x:Math.min(a,e-s-2),y:d+14,
"text-anchor":"middle"},n))}f.append(L("line",{x1:i,x2:l,y1:d,y2:d,style:`stroke:${t.muted}`}),h({x:(i+l)/2,y:n-5,
"text-anchor":"middle"},o.title),h({transform:`translate(11 ${(c+d)/2}) rotate(-90)`,"text-anchor":"middle"},r.
title));return{root:f,X:m,Y:u,left:i,right:l,top:c,bottom:d,words:h}};const S=(...e)=>t("thead",{},t("tr",{},...e.map(
e=>t("th",{scope:"col",text:e}))));const N=(e,n,a)=>t("div",{class:"mn-tablebox"},t("table",{class:"mn-table",
"data-testid":e},S(...n),t("tbody",{},...a.map(([e,...n])=>t("tr",{},t("th",{scope:"row",text:e}),...n.map(e=>Array.
isArray(e)?t("td",{},t("span",{text:e[0]}),e[1]?t("span",{class:"mn-why",text:e[1]}):null):t("td",{text:e})))))));
const O=t=>[1,3,5].map(e=>parseInt(t.slice(e,e+2),16));const T=([t,e,n])=>`rgb(${Math.round(t)},${Math.round(
e)},${Math.round(n)})`;const F=([t,e,n])=>(.2126*t+.7152*e+.0722*n)/255;const R=t=>{const[e,n,a]=t.map(t=>t<=10.3?
t/3294.6:((t/255+.055)/1.055)**2.4);const s=.2126*e+.7152*n+.0722*a;return 1.05/(s+.05)>(s+.05)/.05?"#ffffff":
"#000000"};const H=t=>{const e=t.map(O),n=e.length-1;return t=>{const a=Math.min(1,Math.max(0,t))*n,s=Math.min(n-1,
Math.floor(a)),o=a-s;return e[s].map((t,n)=>t+o*(e[s+1][n]-t))}};const P={light:{diverging:H(["#0a3a75","#2f7fc1",
"#a6cdec","#f9f9f7","#fbc98f","#dd7f1d","#853703"]),single:H(["#f9f9f7","#b9d8ee","#5a9fd4","#1f62a6","#08264f"]),
missing:[214,214,214],ink:"#1c1c1c"},dark:{diverging:H(["#a9d6ff","#4a9be0","#22507d","#202328","#7a4515","#dd8430",
"#ffd0a0"]),single:H(["#202328","#1d4a73","#2f7fc1","#7cbcf0","#e6f4ff"]),missing:[78,82,88],ink:"#f2f2f2"}};const X=
e=>{const n=getComputedStyle(e.closest(".mnemoscope")??e);const a=(t,e)=>n.getPropertyValue(t).trim()||e;const s=t(
"canvas",{width:1,height:1}).getContext("2d",{willReadFrequently:true});s.fillStyle="#ffffff";s.fillStyle=n.
backgroundColor;s.fillRect(0,0,1,1);const o=[...s.getImageData(0,0,1,1).data].slice(0,3),r=F(o)<.4;const i=r?P.dark:P.
light;return{dark:r,...i,page:o,text:n.color,muted:a("--mn-muted","#666"),accent:a("--mn-accent","#0b6bcb"),
background:n.backgroundColor,font:a("--mn-font","system-ui, sans-serif"),mono:a("--mn-mono","monospace")}};const V=t=>
{const e=new MutationObserver(()=>requestAnimationFrame(t));for(const t of[document.documentElement,document.body])e.
observe(t,{attributes:true,attributeFilter:["class","style","data-jp-theme-name","data-jp-theme-light",
"data-vscode-theme-kind"]});const n=matchMedia("(prefers-color-scheme: dark)");n.addEventListener("change",t);return(
)=>{e.disconnect();n.removeEventListener("change",t)}};const Y=(e,n=3)=>new Promise((a,s)=>{const o=new Image;o.
onload=()=>{const s=t("canvas",{width:e.width*n,height:e.height*n});const r=s.getContext("2d");r.scale(n,n);r.
drawImage(o,0,0);s.toBlob(a,"image/png")};o.onerror=()=>s(new Error("the browser could not draw the figure"));o.src=
"data:image/svg+xml;charset=utf-8,"+encodeURIComponent(e.text)});const B=t=>{const e=t.reduce((t,e)=>t+e.width,0),n=
Math.max(...t.map(t=>t.height));let a=0;const s=t.map(t=>{const e=a;a+=t.width;return t.text.replace("<svg ",
`<svg x="${e}" `)}).join("");return{text:
`<svg xmlns="http://www.w3.org/2000/svg" width="${e}" height="${n}" viewBox="0 0 ${e} `+
`${n}"><rect width="100%" height="100%" fill="#ffffff"/>${s}</svg>`,width:e,height:n}};const D=t=>{if(
!t)return new Float32Array(0);const e=t instanceof ArrayBuffer?new DataView(t):t;const n=e.byteOffset%4?e.buffer.
slice(e.byteOffset,e.byteOffset+e.byteLength):e.buffer;return new Float32Array(n,e.byteOffset%4?0:e.byteOffset,Math.
floor(e.byteLength/4))};const _=t=>{const e=[];return{undo:e,send:(e,n={})=>t.send({type:e,...n}),listen:(n,a)=>{for(
const s of n){t.on(`change:${s}`,a);e.push(()=>t.off(`change:${s}`,a))}},set:e=>{for(const[n,a]of Object.entries(e))t.
set(n,a);t.save_changes()}}};const z=(e,n,a)=>{const s={},r={range:true,number:true};const i=(t,n)=>{const a=typeof e.
get(t);return a==="boolean"?n.checked:a!=="number"?n.value:n.value===""?NaN:Number(n.value)};const l=(t,e)=>{if(t.
type==="checkbox")t.checked=e;else t.value=e};const c=(t,o)=>{s[t]=o;o.setAttribute("data-testid",t);let c,d,h=0;
const p=()=>{clearTimeout(d);const n=h-Date.now();if(n>0){d=setTimeout(p,n);return}if(i(t,o)!==e.get(t)){l(o,e.get(
t));o.dispatchEvent(new Event("pulled"))}};p();n([t],p);const m=()=>{clearTimeout(c);const n=i(t,o);if(!Number.isNaN(
n)&&n!==e.get(t))a({[t]:n})};o.addEventListener("change",m);if(o.tagName!=="SELECT"&&o.type!=="checkbox")o.
addEventListener("input",()=>{clearTimeout(c);if(r[o.type]){h=Date.now()+700;m()}else c=setTimeout(m,350)});o.flush=m;
return o};return{inputs:s,bound:c,shown:()=>Object.fromEntries(Object.entries(s).map(([t,e])=>[t,i(t,e)]).filter(([,
t])=>!Number.isNaN(t))),flush:()=>{for(const t of Object.values(s))t.flush()},area:(e,n={})=>c(e,t("textarea",{rows:2,
spellcheck:"false",autocapitalize:"off",...n})),line:(e,n)=>c(e,t("input",{type:"text",spellcheck:"false",
autocomplete:"off",placeholder:n})),choose:(e,n)=>c(e,t("select",{},...n.map(([t,e])=>o(t,e))))}};const W=(e,n,a,s=
"")=>t("button",{type:"button",class:`mn-button ${s}`,"data-testid":e,text:n,onclick:a});const Z={svg:"Figure (SVG)",
png:"Figure (PNG)",csv:"Data (CSV)",save:"Save the labelled data on the kernel’s machine as"};const I=(n,o,{stem:i,
figure:l,table:c,example:d,labels:h={},before:p=[],after:m=[]})=>{const u={...Z,...h};const f=t("textarea",{class:
"mn-code",readonly:true,rows:12,spellcheck:"false","aria-label":"Python that reproduces this view","data-testid":
"code"});const g=t("input",{type:"text","data-testid":"path",placeholder:d,spellcheck:"false"});const b=t("div",{
class:"mn-note","data-testid":"saved",role:"status"}),y=t("input",{type:"checkbox","data-testid":"overwrite"});
const w=()=>o("save",{path:g.value,overwrite:y.checked});g.onkeydown=t=>{if(t.key==="Enter")w()};const x=async t=>{
const n=t.currentTarget;await s(f.value,f);e(n,"Copied");setTimeout(()=>e(n,"Copy"),1500)};const v=t("div",{},t("div",
{class:"mn-buttons"},...p,W("svg",u.svg,()=>a(`${i()}.svg`,"image/svg+xml",l().text)),W("png",u.png,async()=>a(`${i(
)}.png`,"image/png",await Y(l()))),W("csv",u.csv,()=>a(`${i()}.csv`,"text/csv",c())),...m),t("div",{class:
"mn-saverow"},r(u.save,g),W("save","Save",w),t("label",{class:"mn-check"},y,"replace what is there")),b);const k=t(
"details",{class:"mn-more","data-testid":"export"},t("summary",{text:"Export and code"}),v,t("div",{class:
"mn-side-head"},t("span",{class:"mn-label",text:"Python that reproduces this view"}),W("copy","Copy",x,"mn-small")),
f);const $=()=>{const t=n.get("saved");e(b,t.text??"");b.classList.toggle("mn-bad",t.ok===false);f.value=n.get(
"code");f.rows=f.value.split("\n").length+1};return{element:k,files:v,draw:$}};const U=(e,{send:n,listen:a})=>{
const s=t("select",{"data-testid":"examples","aria-label":"Example shown",onchange:()=>n("example",{number:Number(s.
value)})});const r=t("label",{class:"mn-examples"},t("span",{class:"mn-note",text:"Example"}),s);const i=()=>{const{
names:t=[],own:n=false,chosen:a=null}=e.get("examples");r.hidden=t.length+n<1||t.length===1&&!n&&a===0;s.
replaceChildren(...a===null?[o("","choose one …")]:[],...t.map((t,e)=>o(String(e),t)),...n?[o("-1",
"your last input")]:[]);s.value=a===null?"":String(a)};a(["examples"],i);i();return r};const G=(n,a,{send:s,listen:o},
{start:r,label:i,help:l,stop:c,unit:d})=>{const h=t("button",{class:"mn-button mn-primary",type:"button",
"data-testid":"run",text:i,title:`${l} (Ctrl+Enter)`,onclick:r});const p=t("button",{class:"mn-button",type:"button",
"data-testid":"stop",text:"Stop",title:c,onclick:()=>s("stop")});const m=t("div",{class:"mn-progress-fill"}),u=t(
"span",{class:"mn-note","data-testid":"progress",role:"status"});const f=t("div",{class:"mn-progress",role:
"progressbar","aria-label":d,"aria-valuemin":0,"aria-valuemax":100},m);const g=t("div",{class:"mn-error",role:"alert",
"data-testid":"error",hidden:true});const b=()=>{const s=n.get("status"),o=n.get("progress"),r=o.total?Math.round(
100*o.done/o.total):0,i=n.get("error");p.disabled=s!=="running";a.setAttribute("data-status",s);f.hidden=s!==
"running"&&s!=="stopping";m.style.width=`${r}%`;f.setAttribute("aria-valuenow",r);e(u,o.text??"");g.hidden=!i.text;g.
replaceChildren(...i.text?[t("strong",{text:i.title}),t("pre",{text:i.text})]:[])};o(["status","progress","error"],b);
b();const y=t("div",{class:"mn-run"},h,p,t("div",{class:"mn-status"},f,u));return{run:h,row:y,error:g}};const K=(e,{
title:a,testid:s,name:o,kind:r,data:i,start:l,label:c="Run",help:d,stop:h,unit:p})=>{const f=_(e);const g=t("span",{
class:"mn-chip","data-testid":"model",text:i??e.get("model_info").text});const b=t("div",{class:`mnemoscope ${r}`,
"data-testid":s,"data-lm-suppress-shortcuts":"true",role:"region","aria-label":o});const{run:y,row:w,error:x}=G(e,b,f,
{start:l,label:c,help:d,stop:h,unit:p});b.addEventListener("keydown",t=>{if(t.key!=="Enter"||!(t.ctrlKey||t.
metaKey))return;t.preventDefault();t.stopPropagation();y.click()});const v=(s,{parts:o,drawer:r,box:i,draw:l})=>{
const c=t("header",{class:"mn-header"},t("h2",{text:a}),t("div",{class:"mn-about"},U(e,f),g));b.append(c,...o.filter(
t=>t),r.element);m(s,b);const d=()=>{b.setAttribute("data-dark",X(b).dark);l()};f.listen(["saved","code"],r.draw);f.
undo.push(V(d),n(b,i,d),u(e.get("static_key")));r.draw();return()=>{for(const t of f.undo)t()}};return{...f,root:b,
line:g,run:y,row:w,error:x,open:v}};class q{constructor({label:e,testid:n="strip",choose:a=()=>{},hover:s=()=>{}}){
Object.assign(this,{choose:a,hover:s});this.ids=p("token");this.count=0;this.chosen=0;this.element=t("div",{class:
"mn-strip",role:"listbox","aria-orientation":"horizontal",tabindex:"0","aria-label":e,"data-testid":n,onkeydown:t=>
this.keydown(t)})}update(e,n){this.count=e.length;this.chosen=n;this.element.replaceChildren(...e.map(({token:e,
colour:a,says:s="",strong:o=false},r)=>{const i=f(e);const l=t("span",{class:`mn-token${r===n?" mn-chosen":""}${o?
" mn-strong":""}`,role:"option",id:`${this.ids}-${r}`,"aria-selected":String(r===n),"data-index":r,text:i,
"aria-label":`${r} ${i}${r===n?", chosen":""}${s?`, ${s}`:""}`,onclick:()=>{this.element.focus({preventScroll:true});
this.choose(r)},onmouseenter:()=>this.hover(r),onmouseleave:()=>this.hover(null)});if(a){l.style.backgroundColor=T(a);
l.style.color=R(a)}return l}));if(n>=0)this.element.setAttribute("aria-activedescendant",`${this.ids}-${n}`);
else this.element.removeAttribute("aria-activedescendant")}keydown(t){const e=this.chosen,n={ArrowLeft:e-1,ArrowRight:
e+1,ArrowUp:e-1,ArrowDown:e+1,Home:0,End:this.count-1,PageUp:e-10,PageDown:e+10}[t.key];if(n===undefined||!this.
count||t.ctrlKey||t.metaKey||t.altKey)return;t.preventDefault();t.stopPropagation();this.choose(Math.max(0,Math.min(
this.count-1,n)))}}const J=(t,e,n)=>t.open[e]?"open":t.looked[e]?"shut":e<n-1?"prompt, not looked at":"not looked at";
const Q=(t,e,{width:n,height:a,chosen:s=-1})=>{const o=[["plain","without the edit",t.other,"5 3"],["gated",
"with the gated edit",t.accent,null]],r=o.flatMap(([t])=>e[t].reading).filter(t=>!y(t)),i=[...r,...y(e.threshold)?[]:[
e.threshold]],l=Math.max(...i)-Math.min(...i)||1,c=Math.min(...i)-.08*l,d=Math.max(...i)+.08*l,h=Math.max(e.plain.
tokens.length,e.gated.tokens.length),p=e.gated.open.flatMap((t,e)=>t?[e]:[]);const m=C(t,{width:n,height:a,label:
`What the gate reads by token, threshold ${w(e.threshold)}: `+(p.length?`open at token ${p.join(", ")}.`:
"open at no token.")+` At the prompt’s last token it reads ${w(e.gated.reading[e.prompt-1])}.`,x:{low:-.5,high:h-.5,
marks:j(0,h-1,Math.min(h,12)).filter(t=>t%1===0).map(t=>[t,String(t)]),title:"token (0: the first of the prompt)"},y:{
low:c,high:d,marks:j(c,d,4).map(t=>[t,w(t)]),title:"what the gate reads"}});const u=m.X(e.prompt-.5);m.root.append(L(
"rect",{x:m.left,y:m.top,width:u-m.left,height:m.bottom-m.top,style:`fill:${t.line}`,opacity:.35}),m.words({x:m.left+
4,y:m.top+10},"prompt"));if(s>=0&&s<h)m.root.append(L("line",{x1:m.X(s),x2:m.X(s),y1:m.top,y2:m.bottom,style:
`stroke:${t.muted}`}));if(!y(e.threshold)){const n=m.Y(e.threshold);m.root.append(L("line",{"data-part":"threshold",
x1:m.left,x2:m.right,y1:n,y2:n,style:`stroke:${t.text}`,"stroke-width":1.4}))}for(const[n,a,s,r]of o){const o=e[n].
reading.flatMap((t,e)=>y(t)?[]:[[m.X(e),m.Y(t),e,t]]),i=L("g",{"data-arm":n},L("title",{},a));i.append(L("path",{d:o.
length?`M${o.map(([t,e])=>`${t.toFixed(1)} ${e.toFixed(1)}`).join("L")}`:"M0 0",style:`stroke:${s};fill:none`,
"stroke-width":1.7,"stroke-dasharray":r}));for(const[a,r,l,c]of o){const o=e[n].open[l];i.append(L("circle",{cx:a,cy:
r,r:o?5:2.6,style:`fill:${o?s:t.page};stroke:${s}`,"stroke-width":1.4},L("title",{},`token ${l} ${f(e[n].tokens[
l])}: ${w(c)}, ${J(e[n],l,e.prompt)}`)))}m.root.append(i)}if(!y(e.threshold))m.root.append(m.words({x:m.right-2,y:m.Y(
e.threshold)-4,"text-anchor":"end",style:A(t)},"threshold; open above"));return m.root};const tt=(t,e)=>e("div",{
class:"mn-key"},...[[t.accent,null,"with the gated edit; full where the gate was open"],[t.other,"5 3",
"without the edit"]].map(([t,n,a])=>e("span",{},L("svg",{width:30,height:8,"aria-hidden":"true"},L("line",{x1:0,x2:30,
y1:4,y2:4,style:`stroke:${t}`,"stroke-width":1.8,"stroke-dasharray":n})),a)));const et=[
"M-1 0A1 1 0 1 0 1 0A1 1 0 1 0 -1 0Z","M-.9 -.9H.9V.9H-.9Z","M0 -1.15L1.05 .8H-1.05Z",
"M0 -1.25L1.05 0L0 1.25L-1.05 0Z","M-1.05 -.8H1.05L0 1.15Z",
"M-.35 -1.1H.35V-.35H1.1V.35H.35V1.1H-.35V.35H-1.1V-.35H-.35Z","M-1 -1L0 -.4L1 -1L.4 0L1 1L0 .4L-1 1L-.4 0Z",
"M-1.2 -.5H1.2V.5H-1.2Z"];const nt=(t,e,n,a,s,o=false)=>L("path",{d:et[e%et.length],transform:`translate(${n.toFixed(
1)} ${a.toFixed(1)}) scale(${s})`,style:o?`fill:none;stroke:${t[e%t.length]}`:`fill:${t[e%t.length]}`,"stroke-width":
o?(1/s).toFixed(2):null});const at=["#0b61b8","#b35900","#00734d","#8e3d86","#b3261e","#007a87","#6b4e16","#555555"];
const st=at.map((t,e)=>`var(--mn-label${e})`);const ot=t=>[...t.labels,...t.held];const rt=t=>{const e=Math.min(...t),
n=Math.max(...t),a=Math.max(n-e,1e-6);return[e-.06*a,n+.06*a]};const it=(t,e,n,{layer:a,way:s,width:o,height:r})=>{
const i=n.layers,l=[];for(let t=0;t<i;t++)for(let e=0;e<n.labels.length;e++)l.push(n.centroidAt(t,e));for(let t=0;t<n.
items.length;t++)l.push(n.placeAt(a,t));for(const t of s??[])l.push(t);let[c,d]=rt(l.map(t=>t[0])),[h,p]=rt(l.map(t=>
t[1]));const m=o-68,u=r-52,f=Math.max((d-c)/m,(p-h)/u),g=(f*m-(d-c))/2,b=(f*u-(p-h))/2;[c,d,h,p]=[c-g,d+g,h-b,p+b];
const y=n.labels.map((t,e)=>{const[s,o]=n.centroidAt(a,e);return`${k(t)} at ${w(s)}, ${w(o)}`});const x=C(t,{width:o,
height:r,label:`Plane of the centroids over ${i} layers. Behind block ${a}: ${y.join("; ")}`+(s?`; the prompt at ${w(
s[a][0])}, ${w(s[a][1])}.`:"."),x:{low:c,high:d,marks:j(c,d,5).map(t=>[t,w(t)]),title:
"first axis of the plane (spreads of the layer)"},y:{low:h,high:p,marks:j(h,p,5).map(t=>[t,w(t)]),title:
"second axis (spreads)"}});const v=ot(n),$=L("g",{"data-part":"items",opacity:.55});n.items.forEach((s,o)=>{const r=v.
indexOf(s.label),[i,l]=n.placeAt(a,o);$.append(r<0?L("circle",{cx:x.X(i),cy:x.Y(l),r:1.6,style:`fill:${t.muted}`}):nt(
e,r,x.X(i),x.Y(l),3,true))});x.root.append($);const M=(t,e,n)=>e+(n-e)*t/Math.max(1,i-1);const A=t=>`M${t.map(([t,
e])=>`${x.X(t).toFixed(1)} ${x.Y(e).toFixed(1)}`).join("L")}`;n.labels.forEach((t,s)=>{const o=Array.from({length:i},(
t,e)=>n.centroidAt(e,s)),r=e[s%e.length],l=L("g",{"data-way":t});l.append(L("title",{},k(t)),L("path",{d:A(o),style:
`stroke:${r};fill:none`,"stroke-width":1.6}));o.forEach(([t,n],o)=>{l.append(nt(e,s,x.X(t),x.Y(n),o===a?7:M(o,2,
4)))});x.root.append(l)});if(s){const e=L("g",{"data-way":"prompt"},L("title",{},"the prompt"));e.append(L("path",{d:
A(s),style:`stroke:${t.text};fill:none`,"stroke-width":1.8,"stroke-dasharray":"5 3"}));s.forEach(([n,s],o)=>{e.append(
L("circle",{cx:x.X(n),cy:x.Y(s),r:o===a?5.5:M(o,1.8,3.2),style:o===a?`fill:${t.page};stroke:${t.text}`:`fill:${t.
text}`,"stroke-width":o===a?2.5:null}))});x.root.append(e)}return x.root};const lt=(t,e,n,a,s)=>{const o=(...t)=>L(
"svg",{width:26,height:12,"aria-hidden":"true"},...t);const r=(t,e=null)=>L("line",{x1:0,x2:26,y1:6,y2:6,style:
`stroke:${t}`,"stroke-width":1.6,"stroke-dasharray":e});const i=ot(n);return a("div",{class:"mn-key","data-testid":
"key"},...i.map((t,s)=>a("span",{},s<n.labels.length?o(r(e[s%e.length]),nt(e,s,13,6,4.5)):o(nt(e,s,13,6,4,true)),s<n.
labels.length?k(t):`${k(t)} (held out)`)),s?a("span",{},o(r(t.text,"5 3"),L("circle",{cx:13,cy:6,r:3,style:`fill:${t.
text}`})),"the prompt"):null,n.items.some(t=>!i.includes(t.label))?a("span",{},o(L("circle",{cx:13,cy:6,r:2,style:
`fill:${t.muted}`})),"ordinary text"):null)};const ct=["the model","gated edit","no gate","random gate",
"random direction"];const dt=([t,e,n])=>y(t)?"–":[x(t),v(e,n,t=>w(100*t))];const ht=(t,e)=>N("layers",["behind block",
"prompt is nearest to","by (of the distance between centroids)",`report items nearest to their own (n ${t.n})`,
"labels at random","of centroids’ variance in the plane","of all variance"],t.own.map(([n,a,s,o,r,i],l)=>[`${l}${l===
t.layer&&t.gate?" · gate":""}`,e.nearest?k(t.labels[e.nearest[l]]):"–",e.margin?w(e.margin[l]):"–",dt([n,a,s]),x(o),x(
i),x(r)]));const pt=t=>{const e=t.rates.some(t=>t.changed);return N("rates",["label","n",
"gate open at the prompt’s end","open tokens",...e?ct.slice(1).map(t=>`changed: ${t}`):[]],t.rates.map(e=>[k(e.label)+
(t.held.includes(e.label)?" (held out)":""),String(e.n),dt(e.fired),x(e.tokens),...(e.changed??[]).slice(1).map(
dt)]))};const mt=t=>{const e=t.rates.filter(t=>t.right&&!y(t.right[0][0]));return e.length?N("right",["label",...ct],
e.map(e=>[k(e.label)+(t.held.includes(e.label)?" (held out)":""),...e.right.map(dt)])):null};const ut=t=>{if(!t.
labels)return null;const e=D(t.place),n=D(t.centroid),a=t.items.length,s=t.labels.length;return{...t,nearest:D(t.
nearest),margin:D(t.margin),placeAt:(t,n)=>[e[2*(t*a+n)],e[2*(t*a+n)+1]],centroidAt:(t,e)=>[n[2*(t*s+e)],n[2*(t*s+e)+
1]]}};function ft({model:n,el:a}){const s=K(n,{title:"Trajectories and gates",testid:"trajectory-view",name:
"Trajectories and gates",kind:"mn-panels mn-trajectories",label:"Fit",help:
"Read all items, fit the gate, answer with and without its edit",stop:
"Stop after the part in progress; what is computed by then stays",unit:"Parts computed",start:()=>{N();h("run",{
fields:S()})}});const{send:h,listen:p,set:m,root:u,row:y,error:v,line:L}=s,A=t=>n.get(t);const{inputs:j,bound:C,shown:
S,flush:N,line:O,choose:T}=z(n,p,m);const F=t("span",{class:"mn-value"});const R=C("layer",t("input",{type:"range",
min:0,max:Math.max(0,A("model_info").layers-1),step:1,"aria-label":"Layer"}));const H=T("target",[]),P=T("toward",[]);
const V=t("div",{class:"mn-controls"},r("Gate opens at",H),r("and pushes to",P),r("Gate reads",T("kind",[["nearest",
"nearest centroid"],["cosine","cosine with the direction"],["projection","projection on the direction"]])),d(
"behind block ",F,R),r("Strength",C("strength",t("input",{type:"number",step:"any"}))),r("Looked at",T("acts",[[
"first","at the prompt’s end"],["each","at every new token too"]])),y);const Y=l("Nothing computed yet",
"Fit reads the items at every layer, draws the way of their labels’ mean states, fits a gate that opens at one "+
"label, and writes answers with and without the edit behind it."),D=t("div",{class:"mn-empty","data-testid":"busy"},t(
"strong",{text:"Reading the items …"})),_=t("p",{class:"mn-caption","data-testid":"caption"}),W=t("div",{
"data-testid":"plane"}),Z=t("div"),U=t("div",{"data-testid":"gate"}),G=t("p",{class:"mn-note","data-testid":
"gate-said"}),et=t("div",{"data-testid":"answers","aria-live":"polite"}),nt=t("div"),ot=t("select",{"data-testid":
"item","aria-label":"Report item",onchange:()=>m({item:Number(ot.value),prompt:""})});const rt=O("prompt",
"empty: the item above");let ct=-1;const dt=new q({label:
"Tokens with the gated edit. Arrow keys tell what the gate read at each.",testid:"tokens",choose:t=>{ct=t;$t()}});
const ft=(t,e,n)=>{if([...t.options].map(t=>t.value).join("\n")!==e.join("\n"))t.replaceChildren(...e.map(t=>o(t,k(
t))));t.value=n};const gt=()=>{ft(H,A("labels"),A("target"));ft(P,A("labels"),A("toward"));const t=A("model_info");R.
max=Math.max(0,t.layers-1);R.value=A("layer");e(F,String(A("layer")));e(L,t.text)};let bt=null;const yt=()=>A(
"detail").status==="ready",wt=()=>Math.max(0,Math.min(bt.layers-1,A("layer"))),xt=()=>A("detail").run===bt.run?A(
"detail").place??null:null;const vt=()=>{if(!bt)return;const e=new Map;bt.items.forEach(({text:n,label:a},s)=>{if(!e.
has(a))e.set(a,t("optgroup",{label:k(a)}));e.get(a).append(o(String(s),g(k(n),70)))});ot.replaceChildren(...e.values(
))};const kt=()=>{const n=wt(),a=bt.own[n],s=xt(),o=Math.min(W.clientWidth||560,760);W.replaceChildren(it($,st,bt,{
layer:n,way:s,width:o,height:Math.round(.62*o)+20}),lt($,st,bt,t,s));e(_,
`One plane for all layers, fitted on the ${bt.fitted_on} train items: the two directions in which their labels’ `+
`mean states vary most. Behind block ${n} it holds ${x(a[5])} of the variance of those means and `+`${x(a[
4])} of all variance of the train items. Lines are means, marks grow from the first layer `+`to the `+
`last; outlines are the report items behind block ${n}.`)};const $t=()=>{const n=A("detail"),a=bt&&n.run===bt.run;ot.
value=a&&n.item>=0?String(n.item):"";for(const t of[dt.element,U,G])t.hidden=!a||!yt();if(!a){et.replaceChildren();
return}if(!yt()){et.replaceChildren(n.status==="error"?c("The prompt could not be answered",n.why,"prompt-error"):t(
"p",{class:"mn-note",text:n.status==="waiting"?"There is no gate yet; press Fit.":"Writing …"}));return}const s=n.
gated,o=X(u),r=ct>=0&&ct<s.tokens.length?ct:n.prompt-1;dt.update(s.tokens.map((t,e)=>({token:t,colour:s.open[e]?o.
diverging(.85):null,says:`${J(s,e,n.prompt)}, reads ${w(s.reading[e])}`,strong:e===n.prompt-1})),r);const i=s.open.
filter(Boolean).length;e(G,`Token ${r}, “${f(s.tokens[r])}”, ${J(s,r,n.prompt)}: reads `+`${w(s.reading[
r])}, threshold `+`${w(n.threshold)}. Open at ${i} of ${s.looked.filter(Boolean).
length} tokens looked at; the framed `+"token is the prompt’s last.");const l=Math.min(U.clientWidth||560,760);U.
replaceChildren(Q($,n,{width:l,height:210,chosen:r}),tt($,t));const d=(e,n)=>t("div",{class:"mn-answer"},t("h4",{text:
e}),t("p",{text:n?k(n):"(nothing)"}));et.replaceChildren(t("div",{class:"mn-two"},d("Without the edit",n.plain.text),
d(`With the gated edit${i?"":" (the gate stayed shut)"}`,s.text)))};const Mt=()=>{Z.replaceChildren(ht(bt,A("detail").
run===bt.run?A("detail"):{}));const e=wt(),n=Z.querySelectorAll("tbody tr")[e];n?.setAttribute("aria-current","true");
const a=bt.gate;if(!a){nt.replaceChildren(t("p",{class:"mn-note",text:"No gate yet."}));return}const s=mt(bt);nt.
replaceChildren(t("p",{class:"mn-note","data-testid":"rates-said",text:`The gate for “${k(bt.target)}” at ${a.
site}, ${bt.kind}: threshold ${w(a.threshold)} `+`and Youden’s index `+`${w(a.
youden)} on the tune items, which chose it. The push to “${k(bt.toward)}”, strength `+`${w(bt.strength)}: cosine ${w(
a.reliability)} between halves of the train items. `+`Below: report items and `+
"texts that had no part in either, with exact 95 % intervals."}),pt(bt),...s?[t("h4",{class:"mn-gap",text:
"Right answers"}),s]:[])};const Lt=()=>{if(!u.isConnected)return;for(const t of[At,Et.element])t.hidden=!bt;Y.hidden=
!!bt||!!A("error").text||A("status")==="running";D.hidden=!!bt||A("status")!=="running";if(!bt)return;kt();Mt();$t()};
const At=t("div",{},t("div",{class:"mn-body"},t("section",{class:"mn-main","aria-label":"Trajectories"},t("h3",{text:
"Over the layers"}),W,_),t("section",{class:"mn-side","aria-label":"One prompt","data-testid":"side"},t("h3",{text:
"One prompt"}),t("div",{class:"mn-pick"},r("Report item",ot),r("or a prompt of your own",rt)),et,dt.element,G,U)),i({
label:"Gate",title:"How often the gate opens, and what it is worth"},nt),i({label:"Layers",title:"Layer by layer"},
Z));const Et=I(n,h,{stem:()=>`trajectories_run${bt.run}`,figure:()=>B([it(M,at,bt,{layer:wt(),way:xt(),width:620,
height:420}),...yt()?[Q(M,A("detail"),{width:520,height:420})]:[]].map(E)),table:()=>{const t=bt.items.length;let e=b(
["layer","item","label","text","nearest","margin","plane_1","plane_2"]);for(let n=0;n<bt.layers;n++)bt.items.forEach((
a,s)=>{const o=n*t+s;e+=b([n,s,a.label,a.text,bt.labels[bt.nearest[o]],bt.margin[o],...bt.placeAt(n,s)])});return e},
example:"trajectories.zarr, trajectories.nc, trajectories.csv"});const jt=()=>{bt=ut(A("picture"));ct=-1;vt();Lt()};p(
["picture"],jt);p(["layer","status","error"],Lt);p(["detail"],Lt);p(["labels","target","toward","layer","model_info"],
gt);j.prompt.addEventListener("change",()=>{ct=-1});gt();const Ct=s.open(a,{parts:[V,v,Y,D,At],drawer:Et,box:u,draw:
Lt});jt();return Ct}var gt={render:ft};export{gt as default};
