// Built by npm run build from 18 files, sha256 2e194edbc3a0e24d157b0a4acb8d2c2ff1f66a74c0306fe81d34a51da7a30d77
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
)=>{e.disconnect();s.removeEventListener("change",t)}};const k=t=>{if(t==="")return"∅";return t.replace(/ /g,"·").
replace(/\r?\n/g,"⏎").replace(/\t/g,"⇥").replace(
/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,t=>`‹${t.codePointAt(0).toString(16).
padStart(4,"0")}›`)};const $=(t,e)=>[...t].length>e?[...t].slice(0,e-1).join("")+"…":t;const M=t=>{if(t===null||t===
undefined||Number.isNaN(t))return"no value";if(!Number.isFinite(t))return t>0?"∞":"−∞";const e=Math.abs(t);const s=
e===0?"0":e>=1e5||e<1e-4?e.toExponential(2):e>=100?e.toFixed(1):e>=1?e.toFixed(2):e.toFixed(3);return(t<0&&Number(
s)!==0?"−":"")+s};const S=t=>(t>=.1?(100*t).toFixed(0):t>=.001?(100*t).toFixed(1):"<0.1")+"%";const T=t=>t.map(t=>
typeof t==="string"?`"${t.replace(/"/g,'""')}"`:Number.isNaN(t)?"":String(t)).join(",")+"\r\n";const E=t=>{let e=0;
for(const s of t){const t=Math.abs(s);if(t>e&&Number.isFinite(t))e=t}return e};const L=t=>t===null||t===undefined||
Number.isNaN(t);const A=(t,{title:e,subtitle:s,bar:n,limit:o,low:i=M(-o)})=>{const a="http://www.w3.org/2000/svg",r=v.
light;const l=(t,e,s)=>{const n=document.createElementNS(a,t);for(const[t,s]of Object.entries(e))n.setAttribute(t,s);
if(s!==undefined)n.textContent=s;return n};const c=t.columnLabels.map(t=>$(t.text,24)),h=Math.max(4,Math.min(26,900/t.
columns)),d=Math.max(4,Math.min(14,600/t.rows));const m=Math.max(1,Math.ceil(11/h)),u=Math.max(1,Math.ceil(11/d)),p=
Math.max(1,...c.map(t=>[...t].length))*6.1,f=p+4>h;const w=46,b=48,x=w+h*t.columns+Math.max(20,p*.55)+70,y=b+d*t.rows+
p*.87+36;const k=l("svg",{xmlns:a,width:Math.ceil(x),height:Math.ceil(y),viewBox:`0 0 ${Math.ceil(x)} ${Math.ceil(
y)}`,"font-family":"DejaVu Sans, Arial, sans-serif","font-size":10});k.append(l("rect",{width:"100%",height:"100%",
fill:"#ffffff"}),l("text",{x:w,y:18,"font-size":12,"font-weight":"bold"},e),l("text",{x:w,y:34,fill:"#555555"},s));
const S=e=>b+(t.flip?t.rows-1-e:e)*d;for(let e=0;e<t.rows;e++)for(let s=0;s<t.columns;s++)k.append(l("rect",{x:(w+
s*h).toFixed(2),y:S(e).toFixed(2),width:(h+.2).toFixed(2),height:(d+.2).toFixed(2),fill:g(t.colour(e,s,r)??r.
missing)}));k.append(l("rect",{x:w,y:b,width:h*t.columns,height:d*t.rows,fill:"none",stroke:"#888888","stroke-width":
.75}));for(let e=0;e<t.rows;e+=u)k.append(l("text",{x:w-4,y:S(e)+d/2+3.5,"text-anchor":"end"},t.rowLabels[e]));
const T=b+d*t.rows;for(let e=0;e<t.columns;e+=m){const s=w+(e+.5)*h-(f?2:0);k.append(l("text",{transform:
`translate(${s.toFixed(1)} ${T+(f?9:13)})${f?" rotate(60)":""}`,"text-anchor":f?"start":"middle","font-family":
"DejaVu Sans Mono, monospace","font-weight":t.columnLabels[e].strong?"bold":"normal"},c[e]))}k.append(l("text",{
transform:`translate(12 ${b+d*t.rows/2}) rotate(-90)`,"text-anchor":"middle",fill:"#555555"},t.rowTitle),l("text",{x:
w,y:y-8,fill:"#555555"},t.columnTitle));const E=w+h*t.columns+14,L=60,A=Math.min(160,d*t.rows);for(let t=0;t<L;t++)k.
append(l("rect",{x:E,y:b+A*t/L,width:9,height:A/L+.3,fill:g(r.diverging(1-t/(L-1)))}));for(const[t,e]of[[M(o),0],["0",
.5],[i,1]])k.append(l("text",{x:E+13,y:b+A*e+4},t));k.append(l("text",{transform:`translate(${E+50} ${b+
A/2}) rotate(90)`,"text-anchor":"middle",fill:"#555555"},n));return{text:(new XMLSerializer).serializeToString(k),
width:Math.ceil(x),height:Math.ceil(y)}};const j=(e,s=3)=>new Promise((n,o)=>{const i=new Image;i.onload=()=>{const o=
t("canvas",{width:e.width*s,height:e.height*s});const a=o.getContext("2d");a.scale(s,s);a.drawImage(i,0,0);o.toBlob(n,
"image/png")};i.onerror=()=>o(new Error("the browser could not draw the figure"));i.src=
"data:image/svg+xml;charset=utf-8,"+encodeURIComponent(e.text)});const C=t=>{const e=t.reduce((t,e)=>t+e.width,0),s=
Math.max(...t.map(t=>t.height));let n=0;const o=t.map(t=>{const e=n;n+=t.width;return t.text.replace("<svg ",
`<svg x="${e}" `)}).join("");return{text:
`<svg xmlns="http://www.w3.org/2000/svg" width="${e}" height="${s}" viewBox="0 0 ${e} `+
`${s}"><rect width="100%" height="100%" fill="#ffffff"/>${o}</svg>`,width:e,height:s}};const N=t=>{if(
!t)return new Float32Array(0);const e=t instanceof ArrayBuffer?new DataView(t):t;const s=e.byteOffset%4?e.buffer.
slice(e.byteOffset,e.byteOffset+e.byteLength):e.buffer;return new Float32Array(s,e.byteOffset%4?0:e.byteOffset,Math.
floor(e.byteLength/4))};const O=t=>{const e=[];return{undo:e,send:(e,s={})=>t.send({type:e,...s}),listen:(s,n)=>{for(
const o of s){t.on(`change:${o}`,n);e.push(()=>t.off(`change:${o}`,n))}},set:e=>{for(const[s,n]of Object.entries(e))t.
set(s,n);t.save_changes()}}};const H=(e,s,n)=>{const o={},a={range:true,number:true};const r=(t,s)=>{const n=typeof e.
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
"")=>t("button",{type:"button",class:`mn-button ${o}`,"data-testid":e,text:s,onclick:n});const R={svg:"Figure (SVG)",
png:"Figure (PNG)",csv:"Data (CSV)",save:"Save the labelled data on the kernel’s machine as"};const F=(s,i,{stem:r,
figure:l,table:c,example:h,labels:d={},before:m=[],after:u=[]})=>{const p={...R,...d};const f=t("textarea",{class:
"mn-code",readonly:true,rows:12,spellcheck:"false","aria-label":"Python that reproduces this view","data-testid":
"code"});const g=t("input",{type:"text","data-testid":"path",placeholder:h,spellcheck:"false"});const w=t("div",{
class:"mn-note","data-testid":"saved",role:"status"}),b=t("input",{type:"checkbox","data-testid":"overwrite"});
const v=()=>i("save",{path:g.value,overwrite:b.checked});g.onkeydown=t=>{if(t.key==="Enter")v()};const x=async t=>{
const s=t.currentTarget;await o(f.value,f);e(s,"Copied");setTimeout(()=>e(s,"Copy"),1500)};const y=t("div",{},t("div",
{class:"mn-buttons"},...m,W("svg",p.svg,()=>n(`${r()}.svg`,"image/svg+xml",l().text)),W("png",p.png,async()=>n(`${r(
)}.png`,"image/png",await j(l()))),W("csv",p.csv,()=>n(`${r()}.csv`,"text/csv",c())),...u),t("div",{class:
"mn-saverow"},a(p.save,g),W("save","Save",v),t("label",{class:"mn-check"},b,"replace what is there")),w);const k=t(
"details",{class:"mn-more","data-testid":"export"},t("summary",{text:"Export and code"}),y,t("div",{class:
"mn-side-head"},t("span",{class:"mn-label",text:"Python that reproduces this view"}),W("copy","Copy",x,"mn-small")),
f);const $=()=>{const t=s.get("saved");e(w,t.text??"");w.classList.toggle("mn-bad",t.ok===false);f.value=s.get(
"code");f.rows=f.value.split("\n").length+1};return{element:k,files:y,draw:$}};const _=(e,{send:s,listen:n})=>{
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
w();const b=t("div",{class:"mn-run"},d,m,t("div",{class:"mn-status"},f,p));return{run:d,row:b,error:g}};const D=(e,{
title:n,testid:o,name:i,kind:a,data:r,start:l,label:c="Run",help:h,stop:d,unit:m})=>{const f=O(e);const g=t("span",{
class:"mn-chip","data-testid":"model",text:r??e.get("model_info").text});const w=t("div",{class:`mnemoscope ${a}`,
"data-testid":o,"data-lm-suppress-shortcuts":"true",role:"region","aria-label":i});const{run:b,row:v,error:k}=P(e,w,f,
{start:l,label:c,help:h,stop:d,unit:m});w.addEventListener("keydown",t=>{if(t.key!=="Enter"||!(t.ctrlKey||t.
metaKey))return;t.preventDefault();t.stopPropagation();b.click()});const $=(o,{parts:i,drawer:a,box:r,draw:l})=>{
const c=t("header",{class:"mn-header"},t("h2",{text:n}),t("div",{class:"mn-about"},_(e,f),g));w.append(c,...i.filter(
t=>t),a.element);u(o,w);const h=()=>{w.setAttribute("data-dark",x(w).dark);l()};f.listen(["saved","code"],a.draw);f.
undo.push(y(h),s(w,r,h),p(e.get("static_key")));a.draw();return()=>{for(const t of f.undo)t()}};return{...f,root:w,
line:g,run:b,row:v,error:k,open:$}};const I=(s,{layers:n,ends:o,name:i,strengthName:a,drawn:r=()=>{}})=>{const l=s(
"layer",t("input",{type:"range",min:0,max:Math.max(0,n-1),step:1,"aria-label":"Layer"})),c=t("output",{class:"mn-p",
"data-testid":"layer-text"}),d=s("strength",t("input",{type:"number",step:o.step,"aria-label":
"Strength, any number"})),m=t("input",{type:"range",min:o.low,max:o.high,step:o.step,"data-testid":"strength-slider",
"aria-label":`Strength, ${o.low} to ${o.high}`});m.oninput=()=>{d.value=m.value;d.dispatchEvent(new Event("input"))};
const u=()=>{m.value=d.value;e(c,`${l.value} of ${Math.max(0,n-1)}`);r()};for(const t of[l,d])for(const e of["input",
"pulled"])t.addEventListener(e,u);return{follow:u,elements:[h(i,c,l),h(a,null,t("div",{class:"mn-both"},m,d))]}};
const B={running:"writing …",stopping:"stopping …",stopped:"stopped; what was written stays"};const z=e=>t("span",{
class:"mn-note",text:e});const K=(e,s,n)=>t("div",{},t("h4",{text:e}),t("p",{class:"mn-said","data-testid":
`said-${n}`},z(s.prompt),s[n]===undefined?z(s.status==="stopped"?" (not begun)":" …"):t("strong",{text:s[n]}),s.cut===
n?z(" (stopped here)"):null));const U=({model:s,send:n,bound:o,begin:i})=>{const l=t("div",{class:"mn-texts",
"data-testid":"texts"}),h=o("new_tokens",t("input",{type:"number",min:1,max:500,step:1})),d=W("generate","Generate",
i),m=t("span",{class:"mn-note",role:"status","data-testid":"generation-status"});const u=()=>{if(s.get("generation").
status==="running")n("stop_generation")};const p=W("stop-generation","Stop",u);p.setAttribute("aria-label",
"Stop writing");p.title="Stop after the token in progress; what is written stays (Escape in this section)";const f=r({
label:"Generation",title:"What it goes on to say","data-testid":"generation",onkeydown:t=>{if(t.key==="Escape"){t.
stopPropagation();u()}}},t("div",{class:"mn-controls"},a("New tokens",h),t("div",{class:"mn-both"},d,p,m),z(
"greedy; “every token” and “all but the start token” include the new ones")),l);const g=()=>{const t=s.get(
"generation");f.setAttribute("data-status",t.status??"idle");p.disabled=t.status!=="running";e(m,B[t.status]??"");if(
!t.status)l.replaceChildren();else if(t.status==="error")l.replaceChildren(c(t.title,t.text));else l.replaceChildren(
K("unedited",t,"before"),K(`injected: ${t.what}`,t,"after"))};return{element:f,draw:g}};const V=(e,s,n)=>t("div",{
class:"mn-predictions"},t("h4",{text:e}),t("ol",{},...s.map(([e,s])=>{const[o,i,a=""]=n.get(e)??[];return t("li",{},t(
"span",{class:"mn-p-bar",style:`width:${(100*s).toFixed(1)}%`}),t("code",{text:$(k(e),18),title:k(e)}),o?t("span",{
class:`mn-tag ${a}`,text:o,title:i,"aria-label":i}):null,t("span",{class:"mn-p",text:S(s)}))})));const q=t=>t===null?
"–":Math.abs(t)<1e-4?"0":(t>0?"+":"")+M(t);const G=t=>L(t)?"–":`${M(100*Math.exp(t))}%`;const X=t=>L(t)?"–":`× ${M(
Math.exp(t))}`;const Y=t=>String(t).replace("-","−");const J=t=>L(t)?"–":M(t);const Q=t=>{if(!t?.shape)return null;
const e={...t,memory:N(t.memory),control:t.control?N(t.control):null};e.at=(e,s)=>e*t.shape[1]+s;return e};const Z=t=>
{let e="layer,strength,condition,injected,change_logprob_nats,logprob_nats,top_token\r\n";for(const s of t.control?[
"memory","control"]:["memory"])for(let n=0;n<t.shape[0];n++)for(let o=0;o<t.shape[1];o++){const i=t[s][t.at(n,o)];e+=
T([t.rows[n],t.columns[o],s,t[`${s}_name`],i,i+t.base,t[`${s}_top`]?.[t.at(n,o)]??""])}return e};const tt=e=>t(
"table",{class:"mn-table","data-testid":"answer-change"},t("thead",{},t("tr",{},...["","unedited","injected",
"change"].map(e=>t("th",{scope:"col",text:e})))),t("tbody",{},...[["probability",G(e.before),G(e.after),X(e.change)],[
"ln p (nats)",J(e.before),J(e.after),q(e.change)],...e.tokens>1?[["first token, ln p",J(e.first.before),J(e.first.
after),q(e.first.change)]]:[]].map(([e,...s])=>t("tr",{},t("th",{scope:"row",text:e}),...s.map(e=>t("td",{text:
e}))))));const et=e=>{if(e.status==="error"){return[t("div",{class:"mn-error",role:"alert","data-testid":
"live-error"},t("strong",{text:e.title}),t("pre",{text:e.text}))]}if(!e.before){return[t("div",{class:"mn-empty"},t(
"strong",{text:e.status==="running"?"Reading the prompt …":"Nothing to read yet"}),t("p",{text:e.text??""}))]}const s=
new Map([...(e.memory_tokens??[]).map(t=>[t,["M","token of the memory","mn-foil"]]),...e.answer?[[e.answer.token,["A",
e.answer.tokens>1?"first token of the answer":"answer"]]]:[]]);const n=e.after?V("with the injection",e.after,s):t(
"div",{class:"mn-predictions"},t("h4",{text:"with the injection"}),t("p",{class:"mn-note",text:e.text}));return[V(
"unedited",e.before,s),n,t("div",{class:"mn-answer"},e.answer?t("div",{},t("h4",{text:e.answer.tokens>1?
`whole answer ${k(e.answer.text)}, ${e.answer.tokens} tokens`:`answer ${k(e.answer.text)}`}),tt(e.answer)):t("p",{
class:"mn-note",text:"Give an answer to see how its probability changes."}),e.after&&e.kl!==null?t("p",{class:
"mn-note",text:`KL(unedited ‖ injected) over all tokens: ${M(e.kl)} nats`}):null,e.warning?t("div",{class:
"mn-warning","data-testid":"live-warning",text:e.warning}):null,t("p",{class:"mn-note mn-key",text:
`ten most likely next tokens`+`${e.answer?e.answer.tokens>1?" · A first token of the answer":" · A answer":""}`+`${e.
memory_tokens?.length?" · M memory":""}`}))]};class st{constructor(e){this.canvas=t("canvas",{width:128,height:8,
"aria-hidden":"true"});this.low=t("span");this.middle=t("span");this.high=t("span");this.title=t("div",{class:
"mn-bar-title"});this.element=t("div",{class:"mn-bar",role:"img","data-testid":e},this.title,this.canvas,t("div",{
class:"mn-bar-ends"},this.low,this.middle,this.high))}update({ramp:t,low:s,middle:n="",high:o,title:i}){const a=this.
canvas.getContext("2d");for(let e=0;e<128;e++){a.fillStyle=g(t(e/127));a.fillRect(e,0,1,8)}e(this.low,s);e(this.
middle,n);e(this.high,o);e(this.title,i);this.element.setAttribute("aria-label",
`Colour scale: ${i}, from ${s} to ${o}`)}}const nt=(t,e)=>{const{rows:s,columns:n}=t.grid,o=(e,o)=>e>=0&&e<s&&o>=0&&o<
n&&t.cone(e,o),{cw:i,ch:a}=t;e.lineWidth=1;const r=i>=6&&a>=6,l=new Path2D;for(let c=0;c<s;c++)for(let s=0;s<n;s++){
if(!o(c,s))continue;const n=s*i,h=t.y(c),d=t.grid.flip?c+1:c-1,m=t.grid.flip?c-1:c+1;if(r){const o=t.grid.colour?t.
grid.colour(c,s,t.theme)??t.theme.missing:t.theme.missing;e.fillStyle=w(o)>.45?"rgba(0,0,0,.62)":
"rgba(255,255,255,.75)";e.fillRect(n+i/2-1,h+a/2-1,2,2)}if(!o(d,s)){l.moveTo(n,h+.5);l.lineTo(n+i,h+.5)}if(!o(m,s)){l.
moveTo(n,h+a-.5);l.lineTo(n+i,h+a-.5)}if(!o(c,s-1)){l.moveTo(n+.5,h);l.lineTo(n+.5,h+a)}if(!o(c,s+1)){l.moveTo(n+i-.5,
h);l.lineTo(n+i-.5,h+a)}}e.strokeStyle=t.theme.background;e.lineWidth=3;e.stroke(l);e.strokeStyle=t.theme.text;e.
lineWidth=1.25;e.stroke(l)};const ot={minWidth:3,maxWidth:46,minHeight:3,maxHeight:22,label:11};class it{constructor({
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
){const{rows:t,columns:e,rowLabels:s,columnLabels:n}=this.grid,o=this.base.getContext("2d");o.font=`${ot.
label}px ${this.theme.mono}`;const i=t=>Math.max(0,...t.slice(0,2e3).map(t=>o.measureText(t).width));this.left=Math.
ceil(i(s))+(this.grid.rowTitle?26:10);const a=Math.max(60,this.width-this.left-4);const r=e*t>2e4;this.cw=this.grid.
cellWidth??Math.max(r?1:ot.minWidth,Math.min(ot.maxWidth,Math.floor(a/e)));if(!this.grid.cellWidth&&e<=400)this.cw=
Math.max(this.cw,Math.min(12,ot.maxWidth));this.cw=Math.max(1,Math.min(this.cw,Math.floor(12e3/e)));const l=this.grid.
height??430;this.ch=this.grid.cellHeight??Math.max(r?1:ot.minHeight,Math.min(ot.maxHeight,Math.floor(l/t)));this.ch=
Math.max(1,Math.min(this.ch,Math.floor(12e3/t)));const c=n.map(t=>$(t.text,20)),h=i(c);this.turned=h+6>this.cw;this.
every=this.turned?Math.max(1,Math.ceil((ot.label+2)/this.cw)):1;this.rowEvery=Math.max(1,Math.ceil((ot.label+2)/this.
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
every){const{strong:e}=s[t],n=(t+.5)*this.cw;i.font=`${e?"bold ":""}${ot.label}px ${o.mono}`;i.fillStyle=e?o.accent:o.
text;i.save();if(this.turned){i.translate(n-2,this.plotHeight+6);i.rotate(Math.PI/3);i.textAlign="left"}else{i.
translate(n,this.plotHeight+10);i.textAlign="center"}i.fillText(this.turnedTexts[t],0,0);i.restore()}i.fillStyle=o.
muted;i.font=`${ot.label}px ${o.font}`;if(this.grid.columnTitle){i.textAlign="left";i.fillText(this.grid.columnTitle,
0,this.plotHeight+this.bottom-8)}const a=this.size(this.rowLabels,this.left,this.plotHeight+this.bottom);a.textAlign=
"right";a.textBaseline="middle";a.fillStyle=o.text;a.font=`${ot.label}px ${o.mono}`;for(let e=0;e<t;e+=this.
rowEvery)a.fillText(n[e],this.left-5,this.y(e)+this.ch/2);if(this.grid.rowTitle){a.save();a.translate(8,this.
plotHeight/2);a.rotate(-Math.PI/2);a.textAlign="center";a.fillStyle=o.muted;a.font=`${ot.label}px ${o.font}`;a.
fillText(this.grid.rowTitle,0,0);a.restore()}this.drawOverlay();this.announce()}drawCells(e){const{rows:s,columns:n,
colour:o}=this.grid,i=t("canvas",{width:n,height:s}),a=i.getContext("2d");const r=a.createImageData(n,s),l=[];for(
let t=0;t<s;t++)for(let e=0;e<n;e++){const i=o(t,e,this.theme),a=4*((this.grid.flip?s-1-t:t)*n+e),[c,h,d]=i??this.
theme.missing;if(!i&&l.length<2e4)l.push([t,e]);r.data[a]=c;r.data[a+1]=h;r.data[a+2]=d;r.data[a+3]=255}a.
putImageData(r,0,0);e.imageSmoothingEnabled=false;e.drawImage(i,0,0,this.plotWidth,this.plotHeight);if(this.cw<5||
this.ch<5)return;e.strokeStyle=this.theme.background;e.globalAlpha=.55;e.lineWidth=1.5;e.beginPath();for(const[t,
s]of l){const n=s*this.cw,o=this.y(t);e.moveTo(n,o+this.ch);e.lineTo(n+this.cw,o)}e.stroke();e.globalAlpha=
1}drawOverlay(){if(!this.grid||!this.cw)return;const t=this.overlay.getContext("2d"),{cw:e,ch:s,theme:n}=this;t.
clearRect(0,0,this.plotWidth,this.plotHeight);if(this.cone)nt(this,t);const o=(o,i,a,r=[])=>{if(!o)return;const l=o.
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
e.scrollTop+e.clientHeight&&e.scrollHeight>e.clientHeight)e.scrollTop=s+this.ch-e.clientHeight}}const at=610;const rt=
(e,{say:s,select:n})=>{const o=[],i=t=>e=>{const s=o[t];if(s.grid){s.linked=e;s.drawOverlay()}};e.forEach(({label:t,
testid:e,name:a},r)=>{o.push(new it({label:t,testid:e,name:s(a),select:n,hover:i(1-r)}))});const a=e.map(({title:e})=>
t("h4",{"data-testid":e})),r=o.map((e,s)=>t("div",{},a[s],e.element)),l=t("div",{class:"mn-maps"},...r);const c=(t,e,
s=e)=>{const n=t.length>1,i=n&&e>at;l.classList.toggle("mn-two",i);r[1].hidden=!n;t.forEach((t,n)=>{o[n].update(t,i?(
e-24)/2:s)})};return{element:l,maps:o,titles:a,draw:c}};const lt=({model:s,root:n,controls:o,error:a,push:c,shown:
h})=>{let d=null,m=null;const u=t("div",{class:"mn-caption","data-testid":"caption"}),p=t("div",{class:"mn-warning",
"data-testid":"stale",hidden:true}),f=t("select",{"data-testid":"scale","aria-label":"Colour scale",onchange:()=>H()},
i("gain","scale: largest gain, at least 1 nat"),i("all","scale: largest change")),g=new st("colour-bar"),w=t("div",{
class:"mn-toolbar"},f,g.element),b=l("No map yet",
"Run injects the memory, and beside it a control, at every layer with every strength, and shows "+
"how far the answer’s log-probability moves. A cell can be clicked as soon as it is there: the "+"sliders go to it.");
const v=(t,e)=>{const s=d.at(t,e),n=[["memory",`${q(d.memory[s])} nats`]];if(d.control)n.push(["control",`${q(d.
control[s])} nats`],["memory − control",`${q(d.memory[s]-d.control[s])} nats`]);n.push(["answer",G(d.base+d.memory[
s])]);if(d.memory_top?.[s])n.push(["most likely",k(d.memory_top[s])]);return n};const x=(t,e)=>`layer ${d.rows[
t]}, strength ${Y(d.columns[e])}`;const y=(t,e,s,n)=>({name:t,testid:e,title:s,label:
`${n}: change of the answer’s log-probability by layer and strength. Arrow keys move, Enter `+`sets the sliders.`});
const S=rt([y("memory","map","map-title","Memory"),y("control","control-map","control-title","Control")],{say:t=>(e,
s)=>d?[x(e,s),`${t} map`,...v(e,s).map(([t,e])=>`${t} ${e}`)].join(", "):"",select:t=>{if(d)c({layer:d.rows[t.row],
strength:d.columns[t.column]})}});const T=r({label:"Maps",title:"Every layer and strength"},o,a,b,u,p,w,S.element);
const j=(t,e)=>({rows:d.shape[0],columns:d.shape[1],rowLabels:d.rows.map(String),columnLabels:d.columns.map(t=>({text:
Y(t)})),rowTitle:"layer",columnTitle:d.axis,flip:true,colour:(s,n,o)=>{const i=d[t][d.at(s,n)];return Number.isNaN(i)?
null:o.diverging(.5+i/e/2)},tip:(t,e)=>[["",x(t,e)],...v(t,e)]});const N=t=>{const e=Object.entries(d.fields).filter((
[e,s])=>String(s)!==String(t[e])).map(([t])=>t);p.hidden=!e.length;p.replaceChildren(
`These maps were computed with another ${e.join(", ")}. `,W("restore","Back to the maps’ question",()=>c(d.fields),
"mn-small"))};const O=t=>{const e=Math.max(...t.map(E))||1,s=Math.max(0,...t.map(t=>E(t.map(t=>Math.max(t,0))))),n=f.
value==="gain"?Math.max(1,s):e;return[n,e>n*1.0001]};const H=()=>{if(!n.isConnected)return;b.hidden=!!d;for(
const t of[u,w,S.element])t.hidden=!d;if(!d){p.hidden=true;return}const t=["memory","control"].filter(t=>d[t]),[s,o]=
O(t.map(t=>d[t])),i=[`memory: ${k(d.memory_name)}`,`control: ${d.control_what}`],a=t.map(t=>j(t,s)),r=h(),l={row:d.
rows.indexOf(r.layer),column:d.columns.indexOf(r.strength)};S.draw(a,T.clientWidth||600);a.forEach((t,e)=>{const s=S.
maps[e];s.selected=l.row>=0&&l.column>=0?l:null;s.drawOverlay();s.announce()});i.forEach((t,s)=>{e(S.titles[s],t)});e(
u,`${d.what} · answer ${k(d.answer)}, unedited ${G(d.base)} (${M(d.base)} `+`nats)`+(L(d.single)?"":`; after “${k(d.
explicit).replace(/·/g," ")}” ${G(d.single)}`)+`${d.complete?"":" · partial"}`);N(r);const c=
"change of the answer’s log-probability (nats)",f=`${o?"≤ ":""}${M(-s)}`;g.update({ramp:S.maps[0].theme.diverging,low:
f,middle:"0",high:q(s),title:c});m=()=>C(a.map((t,e)=>A(t,{title:$(i[e],44),subtitle:$(`${d.model}: ${d.
what}; answer ${k(d.answer)}`,64),bar:"change of ln p (nats)",limit:s,low:f})))};const R=()=>{d=Q(s.get("map"));H()};
return{element:T,draw:H,read:R,map:()=>d,figure:()=>m()}};const ct=[["activation","activation"],["unembed",
"unembed (as published)"],["embed","embed"],["head","one head’s output"]];const ht=[["all","every token"],[
"not_first","all but the start token"],["last","last token"],["subject","the subject’s tokens"]];const dt=[[
"shuffled","another entity"],["random_tokens","random tokens"],["random_direction","random direction"]];const mt=[
"prompt","memory","answer","subject","layer","strength","encoder","head","positions","relative"];const ut={low:-10,
high:20,step:.25};function pt({model:s,el:n}){const o=D(s,{title:"Injection bench",testid:"injection-bench",name:
"Injection bench",kind:"mn-bench",help:"Compute both maps",stop:
"Stop after the layer in progress; finished layers stay",unit:"Layers computed",start:()=>{w();r("run",{fields:g(
)})}});const{send:r,listen:l,root:c,row:h,error:d}=o;const m=s.get("model_info");const u=t=>{for(const[e,n]of Object.
entries(t))s.set(e,n);r("move",{fields:{...g(),...t}});W()};const{inputs:p,bound:f,shown:g,flush:w,area:b,line:v,
choose:x}=H(s,l,u);const y=s.get("items"),k=t("select",{"data-testid":"item",onchange:()=>r("item",{index:Number(k.
value)})},i("-1","an item …"),...y.map((t,e)=>i(String(e),$(t,80))));const M=t("div",{class:"mn-note","data-testid":
"notes"});const S=t("div",{class:"mn-form"},t("div",{},y.length?a("Take from the items given",k):null,a("Prompt",b(
"prompt",{rows:3})),M),t("div",{class:"mn-pair"},a("Memory (what is injected)",v("memory","e.g. “France”")),a(
"Answer (optional for the lists)",v("answer","e.g. “ Paris”, with its space")),t("div",{class:"mn-wide"},a(
"Subject: the words of the prompt that stand for the memory (optional)",v("subject",
"e.g. “the country of the Eiffel Tower”")))));const T=t("span"),E=I(f,{layers:m.layers,ends:ut,name:"Layer ",
strengthName:T,drawn:()=>e(T,A.checked?"Strength (× the stream’s RMS)":"Strength (× the memory’s vector)")});const L=
a("Head",x("head",Array.from({length:m.heads},(t,e)=>[String(e),String(e)])));const A=f("relative",t("input",{type:
"checkbox"}));const j=t("div",{class:"mn-controls"},...E.elements,a("Encoder",x("encoder",ct)),L,a("Injected at",x(
"positions",ht)),t("label",{class:"mn-check",title:
"Strength 1 is then a vector as long as the residual stream is at that layer"},A,
"relative to the residual stream’s RMS"));const C=t("div",{class:"mn-lists","data-testid":"lists"});const N=t(
"section",{class:"mn-live","data-testid":"live","aria-label":"Next token","aria-live":"polite"},t("div",{class:
"mn-side-head"},t("h3",{text:"Next token"}),t("span",{class:"mn-note",text:""})),C);const O=N.querySelector(
".mn-note");const W=()=>{const t=s.get("live").fields,e=g();N.setAttribute("data-fresh",String(!!t&&mt.every(s=>
String(t[s])===String(e[s]))))};const R=()=>{const t=s.get("live");N.setAttribute("data-status",t.status??"empty");e(
M,t.notes??"");e(O,t.what??"");W();C.replaceChildren(...et(t))};const _=a("Other entity",v("other","e.g. “Norway”")),
P=a("Seed",f("seed",t("input",{type:"number",step:1,min:0})));const B=t("div",{class:"mn-controls"},a("Control",x(
"control",dt)),_,P,a("Strengths (a list, or first:last:step)",v("strengths","-2:8:1")),h);const z=lt({model:s,root:c,
controls:B,error:d,push:u,shown:g});const K=U({model:s,send:r,bound:f,begin:()=>{w();r("generate",{fields:g()})}});
const V=F(s,r,{stem:()=>`injection_${z.map().fields.encoder}_${z.map().fields.positions}`,figure:z.figure,table:()=>Z(
z.map()),example:"injection.zarr, injection.nc, injection.csv, injection.parquet"});const q=()=>{L.hidden=p.encoder.
value!=="head";_.hidden=p.control.value!=="shuffled";P.hidden=p.control.value==="shuffled";for(const t of p.positions.
options)t.disabled=t.value==="subject"&&!p.subject.value.trim();E.follow()};const G=()=>{z.draw();V.files.hidden=!z.
map()};const X=()=>{z.read();V.files.hidden=!z.map()};l(["live"],R);l(["map"],X);l([...mt,"control","other","seed",
"strengths"],()=>{q();G();W()});l(["generation"],K.draw);c.addEventListener("input",()=>{q();W()});const Y=o.open(n,{
parts:[S,j,N,z.element,K.element],drawer:V,box:z.element,draw:G});q();R();X();K.draw();return Y}var ft={render:pt};
export{ft as default};
