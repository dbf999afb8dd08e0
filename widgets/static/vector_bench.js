// Built by npm run build from 19 files, sha256 34969de9e4415dfde28546ef3d1434786372f478a2b7289fe5c593dc2394b41a
const t=(t,e={},...s)=>{const n=document.createElement(t);for(const[t,s]of Object.entries(e)){if(s===null||s===
undefined||s===false)continue;if(t==="text")n.textContent=s;else if(t.startsWith("on"))n.addEventListener(t.slice(2),
s);else if(t==="value")n.value=s;else n.setAttribute(t,s===true?"":s)}n.append(...s.filter(t=>t!==null&&t!==
undefined));if(n.matches("input, select, textarea, button, summary, [tabindex]"))n.setAttribute(
"data-lm-suppress-shortcuts","true");return n};const e=(t,e)=>{if(t.textContent!==e)t.textContent=e};const s=(t,e,s)=>
{let n=0;const o=new ResizeObserver(()=>{const o=t.isConnected?e.clientWidth:0,i=Math.abs(o-n)>4;n=o;if(!o)return;if(
i)s();t.setAttribute("data-ready","true")});o.observe(e);return()=>o.disconnect()};const n=(e,s,n)=>{const o=URL.
createObjectURL(n instanceof Blob?n:new Blob([n],{type:s}));const i=t("a",{href:o,download:e});document.body.append(
i);i.click();i.remove();setTimeout(()=>URL.revokeObjectURL(o),1e4)};const o=async(t,e)=>{try{await navigator.
clipboard.writeText(t)}catch{e.focus();e.select();document.execCommand("copy")}};const i=(e,s)=>t("option",{value:e,
text:s});const a=(e,s,n)=>t("label",{class:"mn-field"},t("span",{class:"mn-label",text:e}),s,null);const r=({label:e,
title:s,beside:n=[],...o},...i)=>t("section",{class:"mn-section","aria-label":e,...o},t("div",{class:"mn-side-head"},
typeof s==="string"?t("h3",{text:s}):s,...n),...i);const l=(e,s,n={"data-testid":"empty"})=>t("div",{class:"mn-empty",
...n},t("strong",{text:e}),t("p",{text:s}));const c=(e,s,n)=>t("div",{class:"mn-error",role:"alert","data-testid":n},
t("strong",{text:e}),t("pre",{text:s}));const h=(e,s,...n)=>t("div",{class:"mn-field mn-slide"},t("span",{class:
"mn-label"},e,s),...n);let d=0;const m=t=>`mn-${t}-${++d}-${Math.random().toString(36).slice(2,7)}`;const u=(t,e)=>{t.
append(e);e.addEventListener("pointerdown",t=>{const e=t.button===0&&t.target.closest("button");if(!e||e.
disabled)return;const s=n=>{if(n.pointerId!==t.pointerId)return;document.removeEventListener("pointerup",s,true);
document.removeEventListener("pointercancel",s,true);const o=Math.hypot(n.clientX-t.clientX,n.clientY-t.clientY)<6;if(
n.type==="pointerup"&&o&&!e.contains(n.target)&&e.isConnected)e.click()};document.addEventListener("pointerup",s,
true);document.addEventListener("pointercancel",s,true)})};const p=e=>{if(!e||!/^[\w-]+$/.test(e))return()=>{};
const s=t("style",{text:`.jp-OutputArea-child:has(.mnemoscope-static-${e}), .mnemoscope-static-${e} { display: none `+
`!important; }`});document.head.append(s);return()=>s.remove()};const f=t=>[1,3,5].map(e=>parseInt(t.slice(e,e+2),
16));const g=([t,e,s])=>`rgb(${Math.round(t)},${Math.round(e)},${Math.round(s)})`;const w=([t,e,s])=>(.2126*t+.7152*e+
.0722*s)/255;const b=t=>{const e=t.map(f),s=e.length-1;return t=>{const n=Math.min(1,Math.max(0,t))*s,o=Math.min(s-1,
Math.floor(n)),i=n-o;return e[o].map((t,s)=>t+i*(e[o+1][s]-t))}};const v={light:{diverging:b(["#0a3a75","#2f7fc1",
"#a6cdec","#f9f9f7","#fbc98f","#dd7f1d","#853703"]),single:b(["#f9f9f7","#b9d8ee","#5a9fd4","#1f62a6","#08264f"]),
missing:[214,214,214],ink:"#1c1c1c"},dark:{diverging:b(["#a9d6ff","#4a9be0","#22507d","#202328","#7a4515","#dd8430",
"#ffd0a0"]),single:b(["#202328","#1d4a73","#2f7fc1","#7cbcf0","#e6f4ff"]),missing:[78,82,88],ink:"#f2f2f2"}};const x=
e=>{const s=getComputedStyle(e.closest(".mnemoscope")??e);const n=(t,e)=>s.getPropertyValue(t).trim()||e;const o=t(
"canvas",{width:1,height:1}).getContext("2d",{willReadFrequently:true});o.fillStyle="#ffffff";o.fillStyle=s.
backgroundColor;o.fillRect(0,0,1,1);const i=[...o.getImageData(0,0,1,1).data].slice(0,3),a=w(i)<.4;const r=a?v.dark:v.
light;return{dark:a,...r,page:i,text:s.color,muted:n("--mn-muted","#666"),accent:n("--mn-accent","#0b6bcb"),
background:s.backgroundColor,font:n("--mn-font","system-ui, sans-serif"),mono:n("--mn-mono","monospace")}};const y=t=>
{const e=new MutationObserver(()=>requestAnimationFrame(t));for(const t of[document.documentElement,document.body])e.
observe(t,{attributes:true,attributeFilter:["class","style","data-jp-theme-name","data-jp-theme-light",
"data-vscode-theme-kind"]});const s=matchMedia("(prefers-color-scheme: dark)");s.addEventListener("change",t);return(
)=>{e.disconnect();s.removeEventListener("change",t)}};const $=t=>{if(t==="")return"∅";return t.replace(/ /g,"·").
replace(/\r?\n/g,"⏎").replace(/\t/g,"⇥").replace(
/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,t=>`‹${t.codePointAt(0).toString(16).
padStart(4,"0")}›`)};const k=(t,e)=>[...t].length>e?[...t].slice(0,e-1).join("")+"…":t;const M=t=>{if(t===null||t===
undefined||Number.isNaN(t))return"no value";if(!Number.isFinite(t))return t>0?"∞":"−∞";const e=Math.abs(t);const s=
e===0?"0":e>=1e5||e<1e-4?e.toExponential(2):e>=100?e.toFixed(1):e>=1?e.toFixed(2):e.toFixed(3);return(t<0&&Number(
s)!==0?"−":"")+s};const S=t=>(t>=.1?(100*t).toFixed(0):t>=.001?(100*t).toFixed(1):"<0.1")+"%";const T=t=>t.map(t=>
typeof t==="string"?`"${t.replace(/"/g,'""')}"`:Number.isNaN(t)?"":String(t)).join(",")+"\r\n";const E=t=>{let e=0;
for(const s of t){const t=Math.abs(s);if(t>e&&Number.isFinite(t))e=t}return e};const L=t=>t===null||t===undefined||
Number.isNaN(t);const A=(t,e)=>`${t.toLocaleString("en")} ${e}${t===1?"":"s"}`;const N=(t,{title:e,subtitle:s,bar:n,
limit:o,low:i=M(-o)})=>{const a="http://www.w3.org/2000/svg",r=v.light;const l=(t,e,s)=>{const n=document.
createElementNS(a,t);for(const[t,s]of Object.entries(e))n.setAttribute(t,s);if(s!==undefined)n.textContent=s;
return n};const c=t.columnLabels.map(t=>k(t.text,24)),h=Math.max(4,Math.min(26,900/t.columns)),d=Math.max(4,Math.min(
14,600/t.rows));const m=Math.max(1,Math.ceil(11/h)),u=Math.max(1,Math.ceil(11/d)),p=Math.max(1,...c.map(t=>[...t].
length))*6.1,f=p+4>h;const w=46,b=48,x=w+h*t.columns+Math.max(20,p*.55)+70,y=b+d*t.rows+p*.87+36;const $=l("svg",{
xmlns:a,width:Math.ceil(x),height:Math.ceil(y),viewBox:`0 0 ${Math.ceil(x)} ${Math.ceil(y)}`,"font-family":
"DejaVu Sans, Arial, sans-serif","font-size":10});$.append(l("rect",{width:"100%",height:"100%",fill:"#ffffff"}),l(
"text",{x:w,y:18,"font-size":12,"font-weight":"bold"},e),l("text",{x:w,y:34,fill:"#555555"},s));const S=e=>b+(t.flip?
t.rows-1-e:e)*d;for(let e=0;e<t.rows;e++)for(let s=0;s<t.columns;s++)$.append(l("rect",{x:(w+s*h).toFixed(2),y:S(e).
toFixed(2),width:(h+.2).toFixed(2),height:(d+.2).toFixed(2),fill:g(t.colour(e,s,r)??r.missing)}));$.append(l("rect",{
x:w,y:b,width:h*t.columns,height:d*t.rows,fill:"none",stroke:"#888888","stroke-width":.75}));for(let e=0;e<t.rows;e+=
u)$.append(l("text",{x:w-4,y:S(e)+d/2+3.5,"text-anchor":"end"},t.rowLabels[e]));const T=b+d*t.rows;for(let e=0;e<t.
columns;e+=m){const s=w+(e+.5)*h-(f?2:0);$.append(l("text",{transform:`translate(${s.toFixed(1)} ${T+(f?9:13)})${f?
" rotate(60)":""}`,"text-anchor":f?"start":"middle","font-family":"DejaVu Sans Mono, monospace","font-weight":t.
columnLabels[e].strong?"bold":"normal"},c[e]))}$.append(l("text",{transform:`translate(12 ${b+d*t.
rows/2}) rotate(-90)`,"text-anchor":"middle",fill:"#555555"},t.rowTitle),l("text",{x:w,y:y-8,fill:"#555555"},t.
columnTitle));const E=w+h*t.columns+14,L=60,A=Math.min(160,d*t.rows);for(let t=0;t<L;t++)$.append(l("rect",{x:E,y:b+
A*t/L,width:9,height:A/L+.3,fill:g(r.diverging(1-t/(L-1)))}));for(const[t,e]of[[M(o),0],["0",.5],[i,1]])$.append(l(
"text",{x:E+13,y:b+A*e+4},t));$.append(l("text",{transform:`translate(${E+50} ${b+A/2}) rotate(90)`,"text-anchor":
"middle",fill:"#555555"},n));return{text:(new XMLSerializer).serializeToString($),width:Math.ceil(x),height:Math.ceil(
y)}};const C=(e,s=3)=>new Promise((n,o)=>{const i=new Image;i.onload=()=>{const o=t("canvas",{width:e.width*s,height:
e.height*s});const a=o.getContext("2d");a.scale(s,s);a.drawImage(i,0,0);o.toBlob(n,"image/png")};i.onerror=()=>o(
new Error("the browser could not draw the figure"));i.src="data:image/svg+xml;charset=utf-8,"+encodeURIComponent(e.
text)});const O=t=>{const e=t.reduce((t,e)=>t+e.width,0),s=Math.max(...t.map(t=>t.height));let n=0;const o=t.map(t=>{
const e=n;n+=t.width;return t.text.replace("<svg ",`<svg x="${e}" `)}).join("");return{text:
`<svg xmlns="http://www.w3.org/2000/svg" width="${e}" height="${s}" viewBox="0 0 ${e} `+
`${s}"><rect width="100%" height="100%" fill="#ffffff"/>${o}</svg>`,width:e,height:s}};const _=t=>{if(
!t)return new Float32Array(0);const e=t instanceof ArrayBuffer?new DataView(t):t;const s=e.byteOffset%4?e.buffer.
slice(e.byteOffset,e.byteOffset+e.byteLength):e.buffer;return new Float32Array(s,e.byteOffset%4?0:e.byteOffset,Math.
floor(e.byteLength/4))};const H=t=>{const e=[];return{undo:e,send:(e,s={})=>t.send({type:e,...s}),listen:(s,n)=>{for(
const o of s){t.on(`change:${o}`,n);e.push(()=>t.off(`change:${o}`,n))}},set:e=>{for(const[s,n]of Object.entries(e))t.
set(s,n);t.save_changes()}}};const R=(e,s,n)=>{const o={},a={range:true,number:true};const r=(t,s)=>{const n=typeof e.
get(t);return n==="boolean"?s.checked:n!=="number"?s.value:s.value===""?NaN:Number(s.value)};const l=(t,e)=>{if(t.
type==="checkbox")t.checked=e;else t.value=e};const c=(t,i)=>{o[t]=i;i.setAttribute("data-testid",t);let c,h,d=0;
const m=()=>{clearTimeout(h);const s=d-Date.now();if(s>0){h=setTimeout(m,s);return}if(r(t,i)!==e.get(t)){l(i,e.get(
t));i.dispatchEvent(new Event("pulled"))}};m();s([t],m);const u=()=>{clearTimeout(c);const s=r(t,i);if(!Number.isNaN(
s)&&s!==e.get(t))n({[t]:s})};i.addEventListener("change",u);if(i.tagName!=="SELECT"&&i.type!=="checkbox")i.
addEventListener("input",()=>{clearTimeout(c);if(a[i.type]){d=Date.now()+700;u()}else c=setTimeout(u,350)});i.flush=u;
return i};return{inputs:o,bound:c,shown:()=>Object.fromEntries(Object.entries(o).map(([t,e])=>[t,r(t,e)]).filter(([,
t])=>!Number.isNaN(t))),flush:()=>{for(const t of Object.values(o))t.flush()},area:(e,s={})=>c(e,t("textarea",{rows:2,
spellcheck:"false",autocapitalize:"off",...s})),line:(e,s)=>c(e,t("input",{type:"text",spellcheck:"false",
autocomplete:"off",placeholder:s})),choose:(e,s)=>c(e,t("select",{},...s.map(([t,e])=>i(t,e))))}};const W=(e,s,n,o=
"")=>t("button",{type:"button",class:`mn-button ${o}`,"data-testid":e,text:s,onclick:n});const F={svg:"Figure (SVG)",
png:"Figure (PNG)",csv:"Data (CSV)",save:"Save the labelled data on the kernel’s machine as"};const j=(s,i,{stem:r,
figure:l,table:c,example:h,labels:d={},before:m=[],after:u=[]})=>{const p={...F,...d};const f=t("textarea",{class:
"mn-code",readonly:true,rows:12,spellcheck:"false","aria-label":"Python that reproduces this view","data-testid":
"code"});const g=t("input",{type:"text","data-testid":"path",placeholder:h,spellcheck:"false"});const w=t("div",{
class:"mn-note","data-testid":"saved",role:"status"}),b=t("input",{type:"checkbox","data-testid":"overwrite"});
const v=()=>i("save",{path:g.value,overwrite:b.checked});g.onkeydown=t=>{if(t.key==="Enter")v()};const x=async t=>{
const s=t.currentTarget;await o(f.value,f);e(s,"Copied");setTimeout(()=>e(s,"Copy"),1500)};const y=t("div",{},t("div",
{class:"mn-buttons"},...m,W("svg",p.svg,()=>n(`${r()}.svg`,"image/svg+xml",l().text)),W("png",p.png,async()=>n(`${r(
)}.png`,"image/png",await C(l()))),W("csv",p.csv,()=>n(`${r()}.csv`,"text/csv",c())),...u),t("div",{class:
"mn-saverow"},a(p.save,g),W("save","Save",v),t("label",{class:"mn-check"},b,"replace what is there")),w);const $=t(
"details",{class:"mn-more","data-testid":"export"},t("summary",{text:"Export and code"}),y,t("div",{class:
"mn-side-head"},t("span",{class:"mn-label",text:"Python that reproduces this view"}),W("copy","Copy",x,"mn-small")),
f);const k=()=>{const t=s.get("saved");e(w,t.text??"");w.classList.toggle("mn-bad",t.ok===false);f.value=s.get(
"code");f.rows=f.value.split("\n").length+1};return{element:$,files:y,draw:k}};const D=(e,{send:s,listen:n})=>{
const o=t("select",{"data-testid":"examples","aria-label":"Example shown",onchange:()=>s("example",{number:Number(o.
value)})});const a=t("label",{class:"mn-examples"},t("span",{class:"mn-note",text:"Example"}),o);const r=()=>{const{
names:t=[],own:s=false,chosen:n=null}=e.get("examples");a.hidden=t.length+s<1||t.length===1&&!s&&n===0;o.
replaceChildren(...n===null?[i("","choose one …")]:[],...t.map((t,e)=>i(String(e),t)),...s?[i("-1",
"your last input")]:[]);o.value=n===null?"":String(n)};n(["examples"],r);r();return a};const P=(s,n,{send:o,listen:i},
{start:a,label:r,help:l,stop:c,unit:h})=>{const d=t("button",{class:"mn-button mn-primary",type:"button",
"data-testid":"run",text:r,title:`${l} (Ctrl+Enter)`,onclick:a});const m=t("button",{class:"mn-button",type:"button",
"data-testid":"stop",text:"Stop",title:c,onclick:()=>o("stop")});const u=t("div",{class:"mn-progress-fill"}),p=t(
"span",{class:"mn-note","data-testid":"progress",role:"status"});const f=t("div",{class:"mn-progress",role:
"progressbar","aria-label":h,"aria-valuemin":0,"aria-valuemax":100},u);const g=t("div",{class:"mn-error",role:"alert",
"data-testid":"error",hidden:true});const w=()=>{const o=s.get("status"),i=s.get("progress"),a=i.total?Math.round(
100*i.done/i.total):0,r=s.get("error");m.disabled=o!=="running";n.setAttribute("data-status",o);f.hidden=o!==
"running"&&o!=="stopping";u.style.width=`${a}%`;f.setAttribute("aria-valuenow",a);e(p,i.text??"");g.hidden=!r.text;g.
replaceChildren(...r.text?[t("strong",{text:r.title}),t("pre",{text:r.text})]:[])};i(["status","progress","error"],w);
w();const b=t("div",{class:"mn-run"},d,m,t("div",{class:"mn-status"},f,p));return{run:d,row:b,error:g}};const I=(e,{
title:n,testid:o,name:i,kind:a,data:r,start:l,label:c="Run",help:h,stop:d,unit:m})=>{const f=H(e);const g=t("span",{
class:"mn-chip","data-testid":"model",text:r??e.get("model_info").text});const w=t("div",{class:`mnemoscope ${a}`,
"data-testid":o,"data-lm-suppress-shortcuts":"true",role:"region","aria-label":i});const{run:b,row:v,error:$}=P(e,w,f,
{start:l,label:c,help:h,stop:d,unit:m});w.addEventListener("keydown",t=>{if(t.key!=="Enter"||!(t.ctrlKey||t.
metaKey))return;t.preventDefault();t.stopPropagation();b.click()});const k=(o,{parts:i,drawer:a,box:r,draw:l})=>{
const c=t("header",{class:"mn-header"},t("h2",{text:n}),t("div",{class:"mn-about"},D(e,f),g));w.append(c,...i.filter(
t=>t),a.element);u(o,w);const h=()=>{w.setAttribute("data-dark",x(w).dark);l()};f.listen(["saved","code"],a.draw);f.
undo.push(y(h),s(w,r,h),p(e.get("static_key")));a.draw();return()=>{for(const t of f.undo)t()}};return{...f,root:w,
line:g,run:b,row:v,error:$,open:k}};const z=(s,{layers:n,ends:o,name:i,strengthName:a,drawn:r=()=>{}})=>{const l=s(
"layer",t("input",{type:"range",min:0,max:Math.max(0,n-1),step:1,"aria-label":"Layer"})),c=t("output",{class:"mn-p",
"data-testid":"layer-text"}),d=s("strength",t("input",{type:"number",step:o.step,"aria-label":
"Strength, any number"})),m=t("input",{type:"range",min:o.low,max:o.high,step:o.step,"data-testid":"strength-slider",
"aria-label":`Strength, ${o.low} to ${o.high}`});m.oninput=()=>{d.value=m.value;d.dispatchEvent(new Event("input"))};
const u=()=>{m.value=d.value;e(c,`${l.value} of ${Math.max(0,n-1)}`);r()};for(const t of[l,d])for(const e of["input",
"pulled"])t.addEventListener(e,u);return{follow:u,elements:[h(i,c,l),h(a,null,t("div",{class:"mn-both"},m,d))]}};
const B=(...e)=>t("thead",{},t("tr",{},...e.map(e=>t("th",{scope:"col",text:e}))));const q=(e,s,n)=>t("div",{class:
"mn-predictions"},t("h4",{text:e}),t("ol",{},...s.map(([e,s])=>{const[o,i,a=""]=n.get(e)??[];return t("li",{},t(
"span",{class:"mn-p-bar",style:`width:${(100*s).toFixed(1)}%`}),t("code",{text:k($(e),18),title:$(e)}),o?t("span",{
class:`mn-tag ${a}`,text:o,title:i,"aria-label":i}):null,t("span",{class:"mn-p",text:S(s)}))})));const K="own pairs",
J=400;const U=8;const V=t=>L(t)?"–":(t>0?"+":"")+M(t);const X=t=>L(t)?"–":(t>0?"+":t<0?"−":"")+Math.abs(100*t).
toFixed(0);const Y=t=>`${(100*t).toFixed(0)}`;const G=(t,e)=>t[0]===e[0]&&t[1]===e[1];const Q=t=>{if(
!t?.shape)return null;const e={...t,at:(e,s)=>e*t.shape[1]+s};for(const s of t.sides)for(const n of["","_low","_high",
"_p_holm"])e[s+n]=t[s+n]?_(t[s+n]):null;return e};const Z=t=>{let e=
"model,layer,head,mean_effect_probability,low,high,p_holm,prompts\r\n";for(const s of t.sides)for(let n=0;n<t.shape[
0];n++)for(let o=0;o<t.shape[1];o++){const i=t.at(n,o);e+=T([t.names[s],t.rows[n],t.columns[o],t[s][i],t[
`${s}_low`]?.[i]??NaN,t[`${s}_high`]?.[i]??NaN,t[`${s}_p_holm`]?.[i]??NaN,t.n])}return e};const tt=t=>{const e=t.
replace(/\r\n?/g,"\n").split("\n").filter(t=>t.trim());if(!t.includes("\t")&&e.length<2)return null;const s=t.
includes("\t")?/\t/:e.every(t=>/\s*->\s*/.test(t))?/\s*->\s*/:e.every(t=>t.includes(";"))?/;\s*/:/,\s*/;return e.map(
t=>{const e=t.split(s);return[e[0].trim(),e.slice(1).join(" ").trim()]})};const et=s=>{let n=false;const o=t("tbody"),
i=t("div",{class:"mn-note"}),a=t("button",{type:"button",class:"mn-button mn-small","data-testid":"all-pairs",onclick:
()=>{n=!n;g()}});const r=t("div",{class:"mn-pairs","data-testid":"pairs"},t("table",{"aria-label":
"Pairs of input and output"},t("thead",{},t("tr",{},t("th",{scope:"col","aria-label":"row"}),t("th",{scope:"col",text:
"input"}),t("th",{scope:"col",text:"output"}),t("th",{scope:"col","aria-label":"remove"}))),o),t("div",{class:
"mn-unfold"},a,i));let l=[],c=new Map,h;const d=()=>[...o.rows].map(t=>[...t.querySelectorAll("input")]);const m=()=>
d().map(t=>t.map(t=>t.value));const u=()=>{const t=m();while(t.length&&t.at(-1).every(t=>!t.trim()))t.pop();return[
...t,...l.slice(J)]};const p=()=>{clearTimeout(h);h=undefined;const t=u();if(JSON.stringify(t)!==JSON.stringify(l)){l=
t;s(t)}};const f=()=>{clearTimeout(h);h=setTimeout(p,450)};const g=()=>{const t=o.rows.length,s=t>U+2;[...o.rows].
forEach((e,o)=>{e.hidden=s&&!n&&o>=U&&o<t-1&&!c.has(o)});a.hidden=!s;a.setAttribute("aria-expanded",String(n));e(a,n?
`Show the first ${U} pairs`:`Show all ${t-1} pairs`)};const w=(t,e)=>{const s=d()[t]?.[e];if(s){if(o.rows[t].hidden){
n=true;g()}s.focus();s.select()}};const b=t=>{const e=d(),s=e.findIndex(e=>e.includes(t));return[s,e[s].indexOf(t)]};
const v=(e,i)=>{const a=(a,c)=>t("input",{type:"text",spellcheck:"false",autocomplete:"off",autocapitalize:"off",
value:e[a],"aria-label":`${c} ${i+1}`,oninput:()=>{const[t]=b(r.querySelector("input"));n=true;if(t===o.rows.length-
1&&m()[t].some(t=>t))o.append(v(["",""],t+1));f()},onchange:p,onkeydown:t=>{const[e,s]=b(t.currentTarget),n={Enter:1,
ArrowDown:1,ArrowUp:-1}[t.key];if(!n||t.ctrlKey||t.metaKey||t.altKey)return;t.preventDefault();t.stopPropagation();w(
e+n,s);if(t.key==="Enter")p()},onpaste:t=>{const e=tt(t.clipboardData?.getData("text/plain")??"");if(!e)return;t.
preventDefault();const[n,i]=b(t.currentTarget),a=m();e.forEach((t,e)=>{const s=a[n+e]??["",""];a[n+e]=i===0||t[1]?t:[
s[0],t[0]]});const r=[...a.filter(t=>t.some(t=>t.trim())),...l.slice(J)];l=r;x();s(r);w(Math.min(n+e.length,o.rows.
length-1),0)}});const r=t("tr",{},t("td",{text:String(i+1)}),t("td",{},a(0,"input")),t("td",{},a(1,"output")),t("td",{
},t("button",{type:"button",class:"mn-remove",text:"×","aria-label":`Remove row ${i+1}`,title:"Remove this row",
onclick:()=>{const[t]=b(r.querySelector("input"));const e=u().filter((e,s)=>s!==t);l=e;x();s(e);w(Math.min(t,o.rows.
length-1),0)}})));return r};const x=()=>{o.replaceChildren(...l.slice(0,J).map(v),...l.length<J?[v(["",""],l.length)]:
[]);e(i,l.length>J?` … and ${l.length-J} more, used as well`:"");y(c)};const y=t=>{c=t;[...o.rows].forEach((t,e)=>{
const s=c.get(e)??"";t.classList.toggle("mn-wrong",!!s);for(const e of t.querySelectorAll("input")){e.title=s;e.
setAttribute("aria-invalid",String(!!s))}});g()};return{element:r,flush:p,mark:y,update:t=>{if(h!==undefined||JSON.
stringify(t)===JSON.stringify(u())){if(h===undefined)l=t;return}l=t;n=false;x()},draw:()=>x()}};const st=["template",
"seed","k","by_hand","layer","strength","queries"];const nt=e=>e?t("span",{class:"mn-share",title:`${e.k} of ${e.
n} right; 95 % interval ${Y(e.low)} to ${Y(e.high)} %`},t("span",{class:"mn-track","aria-hidden":"true"},t("span",{
class:"mn-fill",style:`width:${100*e.k/e.n}%`}),t("span",{class:"mn-range",style:`left:${100*e.low}%;width:${100*(e.
high-e.low)}%`})),t("span",{text:`${e.k} of ${e.n} (${Y(e.low)}–${Y(e.high)} %)`})):"–";const ot=(e,s)=>t("code",{
text:k($(e),s),title:$(e)});const it=(e,s)=>e?t("td",{class:e[1]?"mn-right":"mn-not"},t("code",{text:k($(s??e[0]),26),
title:$(s??e[0]),"aria-label":`${$(s??e[0])}${e[1]?", right":""}`})):t("td",{text:"–"});const at=(e,s,n)=>t("table",{
class:"mn-table","data-testid":"accuracy"},B(n?"model":"","without the vector","with the vector",
"mean p of the first token"),t("tbody",{},...e.sides.map(e=>t("tr",{},t("th",{scope:"row",text:n?s[e.side]:
"right answers"}),t("td",{},nt(e.base)),t("td",{},nt(e.with)),t("td",{text:`${S(e.prob[0])}${L(e.prob[1])?"":` → ${S(
e.prob[1])}`}`})))));const rt=(e,s,n)=>t("table",{class:"mn-table mn-answers","data-testid":"answers"},B("input",
"expected",...e.sides.flatMap(t=>n?[`${t.side}, without`,`${t.side}, with`]:["without the vector",
"with the vector"])),t("tbody",{},...e.items.map((e,n)=>t("tr",{},t("th",{scope:"row"},ot(e.x,24)),t("td",{},ot(e.y,
20)),...e.sides.flatMap((t,e)=>[it(t.base,s[n]?.sides[e]?.base),it(t.with,s[n]?.sides[e]?.with)])))));const lt=(e,s)=>
e.decoded?[q("what the vector says by itself",e.decoded.slice(0,8),new Map),t("p",{class:"mn-note",text:
"read through the model’s last layer: a hint, no test"}),t("p",{class:"mn-note",text:`length ${M(e.norm)}`}),...L(e.
cosine)?[]:[t("p",{"data-testid":"cosine",text:`cosine with the vector of the same heads in ${s.after}: ${M(e.
cosine)}`})]]:[t("p",{class:"mn-note",text:e.text??""})];const ct=({model:s,names:n,shown:o,controls:i})=>{const a=t(
"div",{class:"mn-read","data-testid":"read"}),h=t("div",{"data-testid":"decoded"}),d=t("span",{class:"mn-note"}),m=r({
label:"The vector on bare prompts",title:"The vector on bare prompts",beside:[d],"data-testid":"live"},i,a);m.
classList.add("mn-live");const u=()=>{const{fields:t,heads:e}=s.get("live"),n=s.get("by_hand"),i={...o(),by_hand:n};
const a=!!t&&st.every(e=>String(t[e])===String(i[e]));m.setAttribute("data-fresh",String(a&&(!n||JSON.stringify(s.get(
"heads"))===JSON.stringify(e))))};const p=()=>{const o=s.get("live"),i=s.get("samples");m.setAttribute("data-status",
o.status??"empty");e(d,o.what??"");u();if(o.status==="error"){a.replaceChildren(c(o.title,o.text,"live-error"));
return}if(!o.sides){const t=o.status==="running"?"Reading the prompts …":"Nothing to read yet";a.replaceChildren(l(t,
o.text??"",{}));return}const r=i.rows&&JSON.stringify([i.fields,i.heads])===JSON.stringify([o.fields,o.heads])?i.rows:
[],p=o.sides.length>1;h.replaceChildren(...lt(o,n));a.replaceChildren(t("div",{},t("div",{class:"mn-tablebox"},at(o,n,
p)),t("div",{class:"mn-tablebox"},rt(o,r,p)),t("p",{class:"mn-note",text:
`validation prompts without demonstrations; ✓ the whole answer is the greedy one; most likely `+`next token${r.length?
", the first rows continued":""}`}),...i.text?[t("div",{class:"mn-warning",text:i.text})]:[],...o.warning?[t("div",{
class:"mn-warning","data-testid":"live-warning",text:o.warning})]:[]),h)};return{element:m,draw:p,fresh:u}};class ht{
constructor(e){this.canvas=t("canvas",{width:128,height:8,"aria-hidden":"true"});this.low=t("span");this.middle=t(
"span");this.high=t("span");this.title=t("div",{class:"mn-bar-title"});this.element=t("div",{class:"mn-bar",role:
"img","data-testid":e},this.title,this.canvas,t("div",{class:"mn-bar-ends"},this.low,this.middle,this.high))}update({
ramp:t,low:s,middle:n="",high:o,title:i}){const a=this.canvas.getContext("2d");for(let e=0;e<128;e++){a.fillStyle=g(t(
e/127));a.fillRect(e,0,1,8)}e(this.low,s);e(this.middle,n);e(this.high,o);e(this.title,i);this.element.setAttribute(
"aria-label",`Colour scale: ${i}, from ${s} to ${o}`)}}const dt=(t,e)=>{const{rows:s,columns:n}=t.grid,o=(e,o)=>e>=0&&
e<s&&o>=0&&o<n&&t.cone(e,o),{cw:i,ch:a}=t;e.lineWidth=1;const r=i>=6&&a>=6,l=new Path2D;for(let c=0;c<s;c++)for(let s=
0;s<n;s++){if(!o(c,s))continue;const n=s*i,h=t.y(c),d=t.grid.flip?c+1:c-1,m=t.grid.flip?c-1:c+1;if(r){const o=t.grid.
colour?t.grid.colour(c,s,t.theme)??t.theme.missing:t.theme.missing;e.fillStyle=w(o)>.45?"rgba(0,0,0,.62)":
"rgba(255,255,255,.75)";e.fillRect(n+i/2-1,h+a/2-1,2,2)}if(!o(d,s)){l.moveTo(n,h+.5);l.lineTo(n+i,h+.5)}if(!o(m,s)){l.
moveTo(n,h+a-.5);l.lineTo(n+i,h+a-.5)}if(!o(c,s-1)){l.moveTo(n+.5,h);l.lineTo(n+.5,h+a)}if(!o(c,s+1)){l.moveTo(n+i-.5,
h);l.lineTo(n+i-.5,h+a)}}e.strokeStyle=t.theme.background;e.lineWidth=3;e.stroke(l);e.strokeStyle=t.theme.text;e.
lineWidth=1.25;e.stroke(l)};const mt={minWidth:3,maxWidth:46,minHeight:3,maxHeight:22,label:11};class ut{constructor({
label:e,testid:s,name:n,hover:o=()=>{},select:i=()=>{},key:a=()=>false}){Object.assign(this,{name:n,onHover:o,
onSelect:i,onKey:a});this.focus={row:0,column:0};this.hovered=null;this.selected=null;this.cone=null;this.marks=[];
this.grid=null;const r=m("cell");this.cell=t("div",{role:"gridcell",id:r,"data-testid":`${s}-cell`});this.rowLabels=t(
"canvas",{class:"mn-rows","aria-hidden":"true"});this.base=t("canvas",{"aria-hidden":"true"});this.overlay=t("canvas",
{class:"mn-overlay","aria-hidden":"true"});this.stack=t("div",{class:"mn-stack"},this.base,this.overlay);this.
scroller=t("div",{class:"mn-scroll"},this.stack);this.tip=t("div",{class:"mn-tip","aria-hidden":"true","data-testid":
`${s}-tip`,hidden:true});this.cellRow=t("div",{class:"mn-hidden",role:"row"},this.cell);this.element=t("div",{class:
"mn-map",role:"grid",tabindex:"0","aria-label":e,"aria-activedescendant":r,"aria-readonly":"true","data-testid":s,
onkeydown:t=>this.keydown(t),onfocus:()=>this.showFocus(),onblur:()=>{this.hideTip();this.drawOverlay()}},this.
cellRow,this.rowLabels,this.scroller,this.tip);this.stack.addEventListener("mousemove",t=>this.mousemove(t));this.
stack.addEventListener("mouseleave",()=>{this.hovered=null;this.hideTip();this.drawOverlay();this.onHover(null)});
this.stack.addEventListener("click",t=>{const e=this.at(t);if(e){this.focus=e;this.element.focus({preventScroll:
true});this.hideTip();this.choose()}})}update(t,e){const s=this.grid;this.grid=t;this.width=e;if(!s||s.rows!==t.rows||
s.columns!==t.columns){this.focus=t.start??{row:t.flip?t.rows-1:0,column:0};this.hovered=null;this.selected=null;this.
cone=null}this.focus={row:Math.min(this.focus.row,t.rows-1),column:Math.min(this.focus.column,t.columns-1)};this.
element.setAttribute("aria-rowcount",t.rows);this.element.setAttribute("aria-colcount",t.columns);this.draw()}layout(
){const{rows:t,columns:e,rowLabels:s,columnLabels:n}=this.grid,o=this.base.getContext("2d");o.font=`${mt.
label}px ${this.theme.mono}`;const i=t=>Math.max(0,...t.slice(0,2e3).map(t=>o.measureText(t).width));this.left=Math.
ceil(i(s))+(this.grid.rowTitle?26:10);const a=Math.max(60,this.width-this.left-4);const r=e*t>2e4;this.cw=this.grid.
cellWidth??Math.max(r?1:mt.minWidth,Math.min(mt.maxWidth,Math.floor(a/e)));if(!this.grid.cellWidth&&e<=400)this.cw=
Math.max(this.cw,Math.min(12,mt.maxWidth));this.cw=Math.max(1,Math.min(this.cw,Math.floor(12e3/e)));const l=this.grid.
height??430;this.ch=this.grid.cellHeight??Math.max(r?1:mt.minHeight,Math.min(mt.maxHeight,Math.floor(l/t)));this.ch=
Math.max(1,Math.min(this.ch,Math.floor(12e3/t)));const c=n.map(t=>k(t.text,20)),h=i(c);this.turned=h+6>this.cw;this.
every=this.turned?Math.max(1,Math.ceil((mt.label+2)/this.cw)):1;this.rowEvery=Math.max(1,Math.ceil((mt.label+2)/this.
ch));this.plotWidth=this.cw*e;this.plotHeight=this.ch*t;this.lean=this.turned?Math.ceil(h*.5)+8:0;this.bottom=(this.
turned?Math.ceil(h*.87)+14:20)+(this.grid.columnTitle?16:0);this.turnedTexts=c}size(t,e,s){const n=Math.min(window.
devicePixelRatio||1,e*s>4e6?1:3);t.width=Math.max(1,Math.round(e*n));t.height=Math.max(1,Math.round(s*n));t.style.
width=`${e}px`;t.style.height=`${s}px`;const o=t.getContext("2d");o.setTransform(n,0,0,n,0,0);o.clearRect(0,0,e,s);
return o}y(t){return(this.grid.flip?this.grid.rows-1-t:t)*this.ch}draw(){if(!this.grid||!this.element.
isConnected)return;this.theme=x(this.element);this.layout();const{rows:t,columns:e,columnLabels:s,rowLabels:n}=this.
grid,{theme:o}=this;const i=this.size(this.base,this.plotWidth+this.lean,this.plotHeight+this.bottom);this.size(this.
overlay,this.plotWidth,this.plotHeight);if(this.grid.image){i.imageSmoothingEnabled=false;i.drawImage(this.grid.image(
o),0,0,this.plotWidth,this.plotHeight)}else this.drawCells(i);i.strokeStyle=o.muted;i.globalAlpha=.5;i.lineWidth=1;i.
strokeRect(.5,.5,this.plotWidth-1,this.plotHeight-1);i.globalAlpha=1;i.textBaseline="middle";for(let t=0;t<e;t+=this.
every){const{strong:e}=s[t],n=(t+.5)*this.cw;i.font=`${e?"bold ":""}${mt.label}px ${o.mono}`;i.fillStyle=e?o.accent:o.
text;i.save();if(this.turned){i.translate(n-2,this.plotHeight+6);i.rotate(Math.PI/3);i.textAlign="left"}else{i.
translate(n,this.plotHeight+10);i.textAlign="center"}i.fillText(this.turnedTexts[t],0,0);i.restore()}i.fillStyle=o.
muted;i.font=`${mt.label}px ${o.font}`;if(this.grid.columnTitle){i.textAlign="left";i.fillText(this.grid.columnTitle,
0,this.plotHeight+this.bottom-8)}const a=this.size(this.rowLabels,this.left,this.plotHeight+this.bottom);a.textAlign=
"right";a.textBaseline="middle";a.fillStyle=o.text;a.font=`${mt.label}px ${o.mono}`;for(let e=0;e<t;e+=this.
rowEvery)a.fillText(n[e],this.left-5,this.y(e)+this.ch/2);if(this.grid.rowTitle){a.save();a.translate(8,this.
plotHeight/2);a.rotate(-Math.PI/2);a.textAlign="center";a.fillStyle=o.muted;a.font=`${mt.label}px ${o.font}`;a.
fillText(this.grid.rowTitle,0,0);a.restore()}this.drawOverlay();this.announce()}drawCells(e){const{rows:s,columns:n,
colour:o}=this.grid,i=t("canvas",{width:n,height:s}),a=i.getContext("2d");const r=a.createImageData(n,s),l=[];for(
let t=0;t<s;t++)for(let e=0;e<n;e++){const i=o(t,e,this.theme),a=4*((this.grid.flip?s-1-t:t)*n+e),[c,h,d]=i??this.
theme.missing;if(!i&&l.length<2e4)l.push([t,e]);r.data[a]=c;r.data[a+1]=h;r.data[a+2]=d;r.data[a+3]=255}a.
putImageData(r,0,0);e.imageSmoothingEnabled=false;e.drawImage(i,0,0,this.plotWidth,this.plotHeight);if(this.cw<5||
this.ch<5)return;e.strokeStyle=this.theme.background;e.globalAlpha=.55;e.lineWidth=1.5;e.beginPath();for(const[t,
s]of l){const n=s*this.cw,o=this.y(t);e.moveTo(n,o+this.ch);e.lineTo(n+this.cw,o)}e.stroke();e.globalAlpha=
1}drawOverlay(){if(!this.grid||!this.cw)return;const t=this.overlay.getContext("2d"),{cw:e,ch:s,theme:n}=this;t.
clearRect(0,0,this.plotWidth,this.plotHeight);if(this.cone)dt(this,t);const o=(o,i,a,r=[])=>{if(!o)return;const l=o.
column*e,c=this.y(o.row);t.setLineDash(r);for(const[o,r]of[[n.background,2],[i,0]]){t.strokeStyle=o;t.lineWidth=a+r;t.
strokeRect(l+1,c+1,Math.max(e-2,1),Math.max(s-2,1))}t.setLineDash([])};for(const o of this.marks){const i=o.column*e+
e/2,a=this.y(o.row)+s/2,r=Math.max(2,Math.min(4,e/4,s/4));t.beginPath();t.arc(i,a,r,0,7);t.fillStyle=n.background;t.
fill();t.lineWidth=1.5;t.strokeStyle=n.text;t.stroke()}o(this.hovered,n.text,1);o(this.linked,n.text,1,[3,2]);if(
document.activeElement===this.element)o(this.focus,n.accent,2,[4,2]);o(this.selected,n.text,2.5)}at(t){if(!this.
grid)return null;const e=this.overlay.getBoundingClientRect(),s=Math.floor((t.clientX-e.left)/this.cw),n=Math.floor((
t.clientY-e.top)/this.ch);if(s<0||s>=this.grid.columns||n<0||n>=this.grid.rows)return null;return{row:this.grid.flip?
this.grid.rows-1-n:n,column:s}}mousemove(t){const e=this.at(t);if(e&&this.hovered&&e.row===this.hovered.row&&e.
column===this.hovered.column)return;this.hovered=e;this.drawOverlay();this.onHover(e);if(e)this.showTip(e);else this.
hideTip()}showTip(e){if(!this.grid.tip)return;const s=this.grid.tip(e.row,e.column);this.tip.replaceChildren(...s.map(
([e,s])=>t("div",{},e?t("span",{class:"mn-tip-label",text:`${e} `}):null,t("span",{text:s}))));this.tip.hidden=false;
const n=this.element.getBoundingClientRect(),o=this.overlay.getBoundingClientRect();const i=o.left-n.left+(e.column+
1)*this.cw+8,a=o.top-n.top+this.y(e.row)+this.ch+6;const r=i+this.tip.offsetWidth>n.width?i-this.cw-this.tip.
offsetWidth-16:i;const l=a+this.tip.offsetHeight>n.height?a-this.ch-this.tip.offsetHeight-12:a;this.tip.style.left=
`${Math.max(0,r)}px`;this.tip.style.top=`${Math.max(0,l)}px`}hideTip(){this.tip.hidden=true}showFocus(){this.
drawOverlay();this.announce()}announce(){const{row:t,column:e}=this.focus;this.cellRow.setAttribute("aria-rowindex",(
this.grid.flip?this.grid.rows-1-t:t)+1);this.cell.setAttribute("aria-colindex",e+1);this.cell.setAttribute(
"aria-selected",String(!!this.selected&&this.selected.row===t&&this.selected.column===e));const s=this.name(t,e);this.
cell.setAttribute("aria-label",s)}choose(){this.selected={...this.focus};this.onSelect(this.selected);this.
drawOverlay();this.announce()}keydown(t){if(!this.grid||t.ctrlKey||t.altKey||t.metaKey)return;const e=this.grid.flip?
1:-1,{rows:s,columns:n}=this.grid,o={...this.focus};const i={ArrowUp:[e,0],ArrowDown:[-e,0],ArrowLeft:[0,-1],
ArrowRight:[0,1],PageUp:[5*e,0],PageDown:[-5*e,0],Home:[0,-n],End:[0,n]};if(t.key in i){o.row+=i[t.key][0];o.column+=
i[t.key][1]}else if(t.key==="Enter"||t.key===" "){this.choose()}else if(t.key==="Escape"){this.hideTip();return}else{
if(this.onKey(t.key,this.focus)){t.preventDefault();t.stopPropagation()}return}t.preventDefault();t.stopPropagation();
this.focus={row:Math.min(s-1,Math.max(0,o.row)),column:Math.min(n-1,Math.max(0,o.column))};this.reveal();this.
drawOverlay();this.announce();this.onHover(this.focus);this.showTip(this.focus)}reveal(){const t=this.focus.
column*this.cw,e=this.scroller;if(t<e.scrollLeft)e.scrollLeft=t-20;else if(t+this.cw>e.scrollLeft+e.clientWidth)e.
scrollLeft=t+this.cw-e.clientWidth+20;const s=this.y(this.focus.row);if(s<e.scrollTop)e.scrollTop=s;else if(s+this.ch>
e.scrollTop+e.clientHeight&&e.scrollHeight>e.clientHeight)e.scrollTop=s+this.ch-e.clientHeight}}const pt=610;const ft=
(e,{say:s,select:n})=>{const o=[],i=t=>e=>{const s=o[t];if(s.grid){s.linked=e;s.drawOverlay()}};e.forEach(({label:t,
testid:e,name:a},r)=>{o.push(new ut({label:t,testid:e,name:s(a),select:n,hover:i(1-r)}))});const a=e.map(({title:e})=>
t("h4",{"data-testid":e})),r=o.map((e,s)=>t("div",{},a[s],e.element)),l=t("div",{class:"mn-maps"},...r);const c=(t,e,
s=e)=>{const n=t.length>1,i=n&&e>pt;l.classList.toggle("mn-two",i);r[1].hidden=!n;t.forEach((t,n)=>{o[n].update(t,i?(
e-24)/2:s)})};return{element:l,maps:o,titles:a,draw:c}};const gt=700;const wt=60;const bt=({model:s,root:n,info:o,
names:i,bound:a,push:c,shown:d})=>{let m=null,u=null;const p=t("div",{class:"mn-caption","data-testid":"caption"}),f=
t("div",{class:"mn-warning","data-testid":"stale",hidden:true}),g=t("div",{class:"mn-warning","data-testid":
"map-notes",hidden:true}),w=new ht("colour-bar"),b=l("No head map yet",
"“Find heads” measures how much each attention head tells the model what the task is. The "+
"strongest heads’ outputs add up to a vector that can be added to a prompt without any "+"demonstration.");const v=(
)=>s.get("by_hand")?s.get("heads"):s.get("live").heads??[];const x=(t,e)=>v().some(s=>G(s,[m.rows[t],m.columns[e]]));
const y=(t,e)=>m.sides.flatMap(s=>{const n=m.at(t,e),o=m[`${s}_low`],i=m[`${s}_p_holm`],a=m.sides.length>1?`${s}: `:
"";return[[`${a}effect`,V(m[s][n])],...o&&!L(o[n])?[[`${a}95 %`,`${V(o[n])} to ${V(m[`${s}_high`][n])}`]]:[],...i&&!L(
i[n])?[[`${a}p (Holm)`,i[n]<.001?"< 0.001":M(i[n])]]:[]]});const $=t=>(e,s)=>m?[`layer ${m.rows[e]}, head ${m.columns[
s]}`,...m.sides.length>1?[`map of ${i[t]}`]:[],...y(e,s).map(([t,e])=>`${t} ${e}`),x(e,s)?"chosen":"not chosen"].join(
", "):"";const T=t=>{const e=v(),s=e.filter(e=>!G(e,t));c({by_hand:true,heads:s.length<e.length?s:[...e,t]});K()};
const C=(t,e,s)=>({name:t,testid:e,title:s,label:`${i[
t]}: effect of every head on the answer’s probability. Arrow keys move, Enter chooses `+`a head or leaves it out.`});
const _=ft([C("before","map","map-title"),C("after","after-map","after-title")],{say:$,select:t=>{if(m)T([m.rows[t.
row],m.columns[t.column]])}});const H=t("ul",{class:"mn-chips","data-testid":"chips"}),R=t("h4",{"data-testid":
"chosen-title"}),F=t("div",{},R,t("p",{class:"mn-note",text:
"Click a cell of the map to add a head or to leave it out."}),H),j=t("div",{class:"mn-found"},_.element,F);const D=
Math.max(1,Math.min(wt,o.layers*o.heads||wt)),P=a("k",t("input",{type:"range",min:1,max:D,step:1,"aria-label":
"Number of strongest heads"})),I=t("output",{class:"mn-p","data-testid":"k-text"});const z=W("top",
"Back to the strongest heads",()=>{c({k:Number(P.value)});K()},"mn-small");const B=r({label:"Heads",title:
"Heads that carry the task",beside:[w.element]},b,p,g,f,j);const q=(t,e)=>({rows:m.shape[0],columns:m.shape[1],
rowLabels:m.rows.map(String),columnLabels:m.columns.map(t=>({text:String(t)})),rowTitle:"layer",columnTitle:"head",
flip:true,colour:(s,n,o)=>{const i=m[t][m.at(s,n)];return Number.isNaN(i)?null:o.diverging(.5+i/e/2)},tip:(t,e)=>[["",
`layer ${m.rows[t]}, head ${m.columns[e]}`],...y(t,e),["",x(t,e)?"chosen: Enter or click leaves it out":
"Enter or click chooses it"]]});const K=()=>{const n=v(),o=s.get("by_hand");z.hidden=!o||!m;e(R,`${A(n.length,
"head")} in the vector${o?", chosen by hand":""}`);e(I,o?`${P.value} (now by hand: ${n.length})`:String(P.value));H.
replaceChildren(...n.map(([e,s])=>t("li",{},t("button",{type:"button",text:`${e}.${s}`,title:
`Leave out layer ${e}, head ${s}`,"aria-label":`${e}.${s}: leave out layer ${e}, head ${s}`,onclick:()=>T([e,s])}))));
if(!m)return;for(const t of _.maps)if(t.grid){t.selected=null;t.marks=n.map(([t,e])=>({row:m.rows.indexOf(t),column:m.
columns.indexOf(e)})).filter(t=>t.row>=0&&t.column>=0);t.drawOverlay();t.announce()}};const J=()=>{const t={...d(),
task:s.get("task")},n=Object.entries(m.fields).filter(([e,s])=>String(s)!==String(t[e])).map(([t])=>t);f.hidden=!n.
length;e(f,`This map was measured with another `+`${n.join(", ").replace("trials","number of prompts").replace(
"shots","number of demonstrations")}`+`; the vector is still made from it. “Find heads” measures anew.`)};const U=()=>
{if(!n.isConnected)return;b.hidden=!!m;for(const t of[p,j,w.element])t.hidden=!m;if(!m){f.hidden=g.hidden=true;K();
return}const t=Math.max(...m.sides.map(t=>E(m[t])))||1,s=B.clientWidth||600,o=m.sides.length>1||s<gt,a=m.sides.map(e=>
q(e,t));j.classList.toggle("mn-under",o);_.draw(a,s,o?s:Math.min(s-250,620));m.sides.forEach((t,s)=>{const n=L(m.
bases[t])?"":` · with shuffled labels the answer has ${S(m.bases[t])}`;e(_.titles[s],`${i[t]}${n}`)});e(p,`${m.
task}, template ${m.template}, ${A(m.shots,"demonstration")} · mean over `+`${A(m.n,"prompt")}${m.complete?"":
" · partial"}`);e(g,m.notes.join(" "));g.hidden=!m.notes.length;J();const r="effect on the answer’s probability";w.
update({ramp:_.maps[0].theme.diverging,low:M(-t),middle:"0",high:V(t),title:r});u=()=>O(m.sides.map((e,s)=>N(a[s],{
title:k(i[e],44),subtitle:k(`${m.task}, ${m.template}, ${m.n} prompts`,60),bar:"effect on p(answer)",limit:t})));K()};
const X=()=>{m=Q(s.get("map"));U()};const Y=()=>{if(!s.get("by_hand"))e(I,P.value)};for(const t of["input",
"pulled"])P.addEventListener(t,Y);return{element:B,count:h("Strongest heads ",I,P),topAgain:z,draw:U,drawHeads:K,read:
X,follow:Y,map:()=>m,figure:()=>u()}};const vt=t=>L(t)?"–":t<.001?"< 0.001":M(t);const xt=(t,e)=>{const[s,n,o]=["",
"_low","_high"].map(s=>t[`${e}difference${s}`]);if(L(s))return"–";return`${X(s)} (${L(n)?"no interval":`${X(
n)} to ${X(o)}`})`};const yt=(e,s,n)=>t("div",{class:"mn-tablebox"},t("table",{class:"mn-table mn-answers"},B(...n?[
"model"]:[],"","right answers","against no vector, points","p"),t("tbody",{},...e.map(e=>t("tr",{},...n?[t("th",{
scope:"row",text:s[e.side]})]:[],t("th",{scope:"row",text:e.name}),t("td",{},nt(e)),t("td",{text:xt(e,"")}),t("td",{
text:vt(e.p)}))))));const $t=({model:e,names:s,ask:n})=>{const o=W("test","Report on test",n),i=t("div",{
"data-testid":"report"}),a=r({label:"Test",title:"On the test split",beside:[o]},i);o.title=
"Read the prompts that were kept apart, once you have chosen";const l=()=>{const n=e.get("report");a.setAttribute(
"data-status",n.status??"idle");o.disabled=n.status==="running";if(n.status==="error"){i.replaceChildren(c(n.title,n.
text,"report-error"));return}if(!n.rows){i.replaceChildren(t("p",{class:"mn-note",text:n.status==="running"?
"Reading the test prompts …":
"Choose heads, layer and strength above first. The test split then says how well they do "+
"on pairs that nothing was chosen by, beside a random vector of the same length."}));return}const r=new Set(n.rows.
map(t=>t.side)).size>1;i.replaceChildren(t("p",{class:"mn-note",text:n.what}),yt(n.rows,s,r),...n.rows.filter(t=>!L(t.
control_difference)).map(e=>t("p",{text:`${r?`${s[e.side]}: `:""}vector against the random one: ${xt(e,"control_")} `+
`points, p ${vt(e.control_p)}`})),t("p",{class:"mn-note",text:`${A(n.n,
"test prompt")}, 95 % intervals: exact for accuracies, paired bootstrap for `+`differences; p ${n.p_kinds}. Read ${n.
times===1?"once":`${n.times} times`} for this task`+`${n.times>1?
": what is chosen by looking here is no longer tested by it":""}.`}))};return{element:a,draw:l}};const kt={low:-4,
high:8,step:.25};function Mt({model:e,el:s}){const n=e.get("model_info"),o=e.get("after_info"),r=e.get("names");
const l=I(e,{title:"Vector bench",testid:"vector-bench",name:"Vector bench",kind:"mn-vectors",label:"Find heads",help:
"Measure every head’s effect",stop:"Stop after the layer in progress; finished layers stay",unit:"Layers computed",
data:o.name?`${n.text} | ${o.text}`:n.text,start:()=>{y.flush();w();c("run",{fields:g()})}});const{send:c,listen:h,
root:d,row:m,error:u}=l;const p=t=>{const s="k"in t?{...t,by_hand:false}:t;for(const[t,n]of Object.entries(s))e.set(t,
n);c("move",{fields:{...g(),...s}});N()};const{bound:f,shown:g,flush:w,choose:b}=R(e,h,p);const v=(e,s)=>f(e,t(
"input",{type:"number",step:1,...s}));const x=t("select",{"data-testid":"task",onchange:()=>c("task",{name:x.value})},
...e.get("tasks").map(t=>i(t,t.replace(/_/g," "))),i(K,"own pairs (type or paste below)"));const y=et(t=>{e.set(
"pairs",t);c("move",{fields:{pairs:t}});N()});const $=t("div",{class:"mn-tablenotes","data-testid":"table-notes",role:
"status"});const k=()=>{const s=e.get("table");x.value=e.get("task");y.mark(new Map((s.wrong??[]).map(t=>[t.row,t.
text])));$.replaceChildren(...(s.wrong??[]).slice(0,3).map(e=>t("div",{class:"mn-bad",text:e.text})),...(s.wrong??[]).
length>3?[t("div",{class:"mn-bad",text:`… and ${s.wrong.length-3} more rows`})]:[],...s.error?[t("div",{class:s.pairs?
"mn-bad":"mn-note","data-testid":"table-error",text:s.error})]:[],...s.splits?[t("div",{class:"mn-note",text:s.
splits})]:[],...(s.notes??[]).map(e=>t("div",{class:"mn-warning",text:e})))};const M=t("div",{class:"mn-form"},t(
"div",{},a("Task",x),y.element,$),t("div",{},t("div",{class:"mn-controls"},a("Template",b("template",e.get(
"templates").map(t=>[t,t]))),a("Demonstrations",v("shots",{min:1})),a("Prompts for means",v("mean_prompts",{min:1})),
a("Prompts for effects",v("trials",{min:1})),a("Seed",v("seed",{min:0}))),t("p",{class:"mn-note",text:
"Every head’s output at the last token of prompts with shuffled labels is replaced by its mean "+
"over prompts with right ones; its effect is the change of the answer’s probability."}),t("div",{class:"mn-controls",
style:"margin-top:8px"},m),u));const S=bt({model:e,root:d,info:n,names:r,bound:f,push:p,shown:g});const T=z(f,{layers:
n.layers,ends:kt,name:"Added after layer ",strengthName:"Strength (× the vector)",drawn:S.follow});const E=t("div",{
class:"mn-controls"},S.count,...T.elements,a("Prompts",v("queries",{min:1,max:64})),S.topAgain);const L=ct({model:e,
names:r,shown:g,controls:E});const A=$t({model:e,names:r,ask:()=>{y.flush();w();c("test",{fields:g()})}});const N=()=>
L.fresh();const C=j(e,(t,e)=>c(t,{...e,fields:g()}),{stem:()=>`heads_${S.map().task.replace(/[^\w-]+/g,"_")}`,figure:
S.figure,table:()=>Z(S.map()),example:"heads.zarr, heads.nc, heads.csv, heads.parquet"});C.files.querySelector(
".mn-saverow").prepend(t("div",{},a("Save",b("holds",[["heads","effects of the heads"],["test",
"answers on the test split"]]))));const O=()=>{S.draw();C.files.hidden=!S.map()};const _=()=>{S.read();C.files.hidden=
!S.map()};h(["pairs"],()=>y.update(e.get("pairs")));h(["table","task"],()=>{k();O()});h(["live"],()=>{L.draw();S.
drawHeads()});h(["samples"],L.draw);h(["map"],_);h(["report"],A.draw);h(["by_hand","heads"],()=>{S.drawHeads();N()});
h(["k","layer","strength","template","shots","seed","trials"],()=>{T.follow();O();N()});d.addEventListener("input",(
)=>{T.follow();N()});const H=l.open(s,{parts:[M,S.element,L.element,A.element],drawer:C,box:S.element,draw:O});y.
update(e.get("pairs"));y.draw();T.follow();k();L.draw();_();A.draw();return H}var St={render:Mt};export{
St as default};
