// Built by npm run build from 11 files, sha256 a34251a490c66d9d8e8a95ea0dff0204ac6b8fa1c8407084c12e8558996a0228
const t=(t,e={},...n)=>{const s=document.createElement(t);for(const[t,n]of Object.entries(e)){if(n===null||n===
undefined||n===false)continue;if(t==="text")s.textContent=n;else if(t.startsWith("on"))s.addEventListener(t.slice(2),
n);else if(t==="value")s.value=n;else s.setAttribute(t,n===true?"":n)}s.append(...n.filter(t=>t!==null&&t!==
undefined));if(s.matches("input, select, textarea, button, summary, [tabindex]"))s.setAttribute(
"data-lm-suppress-shortcuts","true");return s};const e=(t,e)=>{if(t.textContent!==e)t.textContent=e};const n=(t,e,n)=>
{let s=0;const a=new ResizeObserver(()=>{const a=t.isConnected?e.clientWidth:0,o=Math.abs(a-s)>4;s=a;if(!a)return;if(
o)n();t.setAttribute("data-ready","true")});a.observe(e);return()=>a.disconnect()};const s=(e,n,s)=>{const a=URL.
createObjectURL(s instanceof Blob?s:new Blob([s],{type:n}));const o=t("a",{href:a,download:e});document.body.append(
o);o.click();o.remove();setTimeout(()=>URL.revokeObjectURL(a),1e4)};const a=async(t,e)=>{try{await navigator.
clipboard.writeText(t)}catch{e.focus();e.select();document.execCommand("copy")}};const o=(e,n)=>t("option",{value:e,
text:n});const r=(e,n,s)=>t("label",{class:"mn-field"},t("span",{class:"mn-label",text:e}),n,null);const i=({label:e,
title:n,beside:s=[],...a},...o)=>t("section",{class:"mn-section","aria-label":e,...a},t("div",{class:"mn-side-head"},
typeof n==="string"?t("h3",{text:n}):n,...s),...o);const c=(e,n,s={"data-testid":"empty"})=>t("div",{class:"mn-empty",
...s},t("strong",{text:e}),t("p",{text:n}));const l=(e,n,s)=>t("div",{class:"mn-error",role:"alert","data-testid":s},
t("strong",{text:e}),t("pre",{text:n}));const d=(t,e)=>{t.append(e);e.addEventListener("pointerdown",t=>{const e=t.
button===0&&t.target.closest("button");if(!e||e.disabled)return;const n=s=>{if(s.pointerId!==t.pointerId)return;
document.removeEventListener("pointerup",n,true);document.removeEventListener("pointercancel",n,true);const a=Math.
hypot(s.clientX-t.clientX,s.clientY-t.clientY)<6;if(s.type==="pointerup"&&a&&!e.contains(s.target)&&e.isConnected)e.
click()};document.addEventListener("pointerup",n,true);document.addEventListener("pointercancel",n,true)})};const u=
e=>{if(!e||!/^[\w-]+$/.test(e))return()=>{};const n=t("style",{text:
`.jp-OutputArea-child:has(.mnemoscope-static-${e}), .mnemoscope-static-${e} { display: none `+`!important; }`});
document.head.append(n);return()=>n.remove()};const m=t=>{if(t==="")return"∅";return t.replace(/ /g,"·").replace(
/\r?\n/g,"⏎").replace(/\t/g,"⇥").replace(/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
t=>`‹${t.codePointAt(0).toString(16).padStart(4,"0")}›`)};const h=t=>t.map(t=>typeof t==="string"?`"${t.replace(/"/g,
'""')}"`:Number.isNaN(t)?"":String(t)).join(",")+"\r\n";const p=t=>t===null||t===undefined||Number.isNaN(t);const f=(
t,e)=>`${t.toLocaleString("en")} ${e}${t===1?"":"s"}`;const g=t=>{if(p(t))return"–";const e=Math.abs(t);return(e&&(e<
1e-4||e>=1e6)?t.toExponential(1):String(Number(t.toPrecision(3)))).replace(/-/g,"−")};const b=(t,e,n=g)=>p(t)||p(e)?
"":`${n(t)} to ${n(e)}`;const w=t=>t?t.slice(0,12):"…";const v={text:"var(--mn-text)",muted:"var(--mn-muted)",line:
"var(--mn-line)",accent:"var(--mn-accent)",other:"var(--mn-other)",page:"var(--mn-bg)"};const x={text:"#1c1c1c",muted:
"#555555",line:"#d0d0d0",accent:"#0b61b8",other:"#b35900",page:"#ffffff"};const y=(t,e={},...n)=>{const s=document.
createElementNS("http://www.w3.org/2000/svg",t);for(const[t,n]of Object.entries(e))if(!p(n))s.setAttribute(t,n);s.
append(...n);return s};const k=t=>({text:(new XMLSerializer).serializeToString(t),width:Number(t.getAttribute(
"width")),height:Number(t.getAttribute("height"))});const $=(t,e,n)=>{const s=(e-t)/Math.max(1,n)||1,a=10**Math.floor(
Math.log10(s)),o=a*([1,2,5].find(t=>t*a>=s*.999)??10),r=[];for(let n=Math.ceil(t/o-1e-9);n*o<=e+1e-9*o;n++)r.push(
Number((n*o).toPrecision(12))||0);return r};const M=(t,{width:e,height:n,title:s,label:a,x:o,y:r,left:i=54})=>{
const c=e-14,l=s?30:14,d=n-38,u=(e,n)=>y("text",{style:`fill:${t.muted}`,"font-size":10.5,...e},n);const m=(t,e,n)=>{
const s=t.map??(t=>t),a=s(t.low),o=s(t.high);return t=>e+(s(t)-a)/(o-a||1)*(n-e)};const h=m(o,i,c),p=m(r,d,l);const f=
y("svg",{xmlns:"http://www.w3.org/2000/svg",viewBox:`0 0 ${e} ${n}`,width:e,height:n,role:"img","aria-label":a,
"font-family":"system-ui, DejaVu Sans, Arial, sans-serif","font-size":11});if(s)f.append(u({x:2,y:13,"font-size":12,
"font-weight":600,style:`fill:${t.text}`},s));for(const[e,n]of r.marks)f.append(y("line",{x1:i,x2:c,y1:p(e),y2:p(e),
style:`stroke:${t.line}`,"stroke-width":.7}),u({x:i-6,y:p(e)+3.5,"text-anchor":"end"},n));let g=-99;for(const[t,
n]of o.marks){const s=h(t),a=n.length*3+3;if(s-a<g)continue;g=s+a;f.append(u({x:Math.min(s,e-a-2),y:d+14,
"text-anchor":"middle"},n))}f.append(y("line",{x1:i,x2:c,y1:d,y2:d,style:`stroke:${t.muted}`}),u({x:(i+c)/2,y:n-5,
"text-anchor":"middle"},o.title),u({transform:`translate(11 ${(l+d)/2}) rotate(-90)`,"text-anchor":"middle"},r.
title));return{root:f,X:h,Y:p,left:i,right:c,top:l,bottom:d,words:u}};const N=(...e)=>t("thead",{},t("tr",{},...e.map(
e=>t("th",{scope:"col",text:e}))));const E=(e,n,s)=>t("div",{class:"mn-tablebox"},t("table",{class:"mn-table",
"data-testid":e},N(...n),t("tbody",{},...s.map(([e,...n])=>t("tr",{},t("th",{scope:"row",text:e}),...n.map(e=>Array.
isArray(e)?t("td",{},t("span",{text:e[0]}),e[1]?t("span",{class:"mn-why",text:e[1]}):null):t("td",{text:e})))))));
const C=t=>[1,3,5].map(e=>parseInt(t.slice(e,e+2),16));const S=([t,e,n])=>(.2126*t+.7152*e+.0722*n)/255;const L=t=>{
const e=t.map(C),n=e.length-1;return t=>{const s=Math.min(1,Math.max(0,t))*n,a=Math.min(n-1,Math.floor(s)),o=s-a;
return e[a].map((t,n)=>t+o*(e[a+1][n]-t))}};const A={light:{diverging:L(["#0a3a75","#2f7fc1","#a6cdec","#f9f9f7",
"#fbc98f","#dd7f1d","#853703"]),single:L(["#f9f9f7","#b9d8ee","#5a9fd4","#1f62a6","#08264f"]),missing:[214,214,214],
ink:"#1c1c1c"},dark:{diverging:L(["#a9d6ff","#4a9be0","#22507d","#202328","#7a4515","#dd8430","#ffd0a0"]),single:L([
"#202328","#1d4a73","#2f7fc1","#7cbcf0","#e6f4ff"]),missing:[78,82,88],ink:"#f2f2f2"}};const j=e=>{const n=
getComputedStyle(e.closest(".mnemoscope")??e);const s=(t,e)=>n.getPropertyValue(t).trim()||e;const a=t("canvas",{
width:1,height:1}).getContext("2d",{willReadFrequently:true});a.fillStyle="#ffffff";a.fillStyle=n.backgroundColor;a.
fillRect(0,0,1,1);const o=[...a.getImageData(0,0,1,1).data].slice(0,3),r=S(o)<.4;const i=r?A.dark:A.light;return{dark:
r,...i,page:o,text:n.color,muted:s("--mn-muted","#666"),accent:s("--mn-accent","#0b6bcb"),background:n.
backgroundColor,font:s("--mn-font","system-ui, sans-serif"),mono:s("--mn-mono","monospace")}};const T=t=>{const e=
new MutationObserver(()=>requestAnimationFrame(t));for(const t of[document.documentElement,document.body])e.observe(t,
{attributes:true,attributeFilter:["class","style","data-jp-theme-name","data-jp-theme-light",
"data-vscode-theme-kind"]});const n=matchMedia("(prefers-color-scheme: dark)");n.addEventListener("change",t);return(
)=>{e.disconnect();n.removeEventListener("change",t)}};const U=(e,n=3)=>new Promise((s,a)=>{const o=new Image;o.
onload=()=>{const a=t("canvas",{width:e.width*n,height:e.height*n});const r=a.getContext("2d");r.scale(n,n);r.
drawImage(o,0,0);a.toBlob(s,"image/png")};o.onerror=()=>a(new Error("the browser could not draw the figure"));o.src=
"data:image/svg+xml;charset=utf-8,"+encodeURIComponent(e.text)});const P=t=>{const e=t.reduce((t,e)=>t+e.width,0),n=
Math.max(...t.map(t=>t.height));let s=0;const a=t.map(t=>{const e=s;s+=t.width;return t.text.replace("<svg ",
`<svg x="${e}" `)}).join("");return{text:
`<svg xmlns="http://www.w3.org/2000/svg" width="${e}" height="${n}" viewBox="0 0 ${e} `+
`${n}"><rect width="100%" height="100%" fill="#ffffff"/>${a}</svg>`,width:e,height:n}};const O=t=>{const e=[];return{
undo:e,send:(e,n={})=>t.send({type:e,...n}),listen:(n,s)=>{for(const a of n){t.on(`change:${a}`,s);e.push(()=>t.off(
`change:${a}`,s))}},set:e=>{for(const[n,s]of Object.entries(e))t.set(n,s);t.save_changes()}}};const R=(e,n,s)=>{
const a={},r={range:true,number:true};const i=(t,n)=>{const s=typeof e.get(t);return s==="boolean"?n.checked:s!==
"number"?n.value:n.value===""?NaN:Number(n.value)};const c=(t,e)=>{if(t.type==="checkbox")t.checked=e;else t.value=e};
const l=(t,o)=>{a[t]=o;o.setAttribute("data-testid",t);let l,d,u=0;const m=()=>{clearTimeout(d);const n=u-Date.now();
if(n>0){d=setTimeout(m,n);return}if(i(t,o)!==e.get(t)){c(o,e.get(t));o.dispatchEvent(new Event("pulled"))}};m();n([t],
m);const h=()=>{clearTimeout(l);const n=i(t,o);if(!Number.isNaN(n)&&n!==e.get(t))s({[t]:n})};o.addEventListener(
"change",h);if(o.tagName!=="SELECT"&&o.type!=="checkbox")o.addEventListener("input",()=>{clearTimeout(l);if(r[o.
type]){u=Date.now()+700;h()}else l=setTimeout(h,350)});o.flush=h;return o};return{inputs:a,bound:l,shown:()=>Object.
fromEntries(Object.entries(a).map(([t,e])=>[t,i(t,e)]).filter(([,t])=>!Number.isNaN(t))),flush:()=>{for(
const t of Object.values(a))t.flush()},area:(e,n={})=>l(e,t("textarea",{rows:2,spellcheck:"false",autocapitalize:
"off",...n})),line:(e,n)=>l(e,t("input",{type:"text",spellcheck:"false",autocomplete:"off",placeholder:n})),choose:(e,
n)=>l(e,t("select",{},...n.map(([t,e])=>o(t,e))))}};const W=(e,n,s,a="")=>t("button",{type:"button",class:
`mn-button ${a}`,"data-testid":e,text:n,onclick:s});const _={svg:"Figure (SVG)",png:"Figure (PNG)",csv:"Data (CSV)",
save:"Save the labelled data on the kernel’s machine as"};const z=(n,o,{stem:i,figure:c,table:l,example:d,labels:u={},
before:m=[],after:h=[]})=>{const p={..._,...u};const f=t("textarea",{class:"mn-code",readonly:true,rows:12,spellcheck:
"false","aria-label":"Python that reproduces this view","data-testid":"code"});const g=t("input",{type:"text",
"data-testid":"path",placeholder:d,spellcheck:"false"});const b=t("div",{class:"mn-note","data-testid":"saved",role:
"status"}),w=t("input",{type:"checkbox","data-testid":"overwrite"});const v=()=>o("save",{path:g.value,overwrite:w.
checked});g.onkeydown=t=>{if(t.key==="Enter")v()};const x=async t=>{const n=t.currentTarget;await a(f.value,f);e(n,
"Copied");setTimeout(()=>e(n,"Copy"),1500)};const y=t("div",{},t("div",{class:"mn-buttons"},...m,W("svg",p.svg,()=>s(
`${i()}.svg`,"image/svg+xml",c().text)),W("png",p.png,async()=>s(`${i()}.png`,"image/png",await U(c()))),W("csv",p.
csv,()=>s(`${i()}.csv`,"text/csv",l())),...h),t("div",{class:"mn-saverow"},r(p.save,g),W("save","Save",v),t("label",{
class:"mn-check"},w,"replace what is there")),b);const k=t("details",{class:"mn-more","data-testid":"export"},t(
"summary",{text:"Export and code"}),y,t("div",{class:"mn-side-head"},t("span",{class:"mn-label",text:
"Python that reproduces this view"}),W("copy","Copy",x,"mn-small")),f);const $=()=>{const t=n.get("saved");e(b,t.
text??"");b.classList.toggle("mn-bad",t.ok===false);f.value=n.get("code");f.rows=f.value.split("\n").length+1};return{
element:k,files:y,draw:$}};const I=(n,s,{fields:a,words:o})=>{const r=t("p",{"data-testid":"force",role:"status"}),i=
W("put","Put this edit in force",()=>s("put",{fields:a()})),c=W("undo","Undo",()=>s("undo")),l=t("div",{class:
"mn-weights","data-testid":"weights"},i,c,r);const d=({state:t,what:e,before:n,now:s,same:a})=>{if(t===
"in force")return o.edited(e,`Weight hash ${w(n)} → ${w(s)}`);if(t==="error")return"";if(t!=="undone")return o.none();
const r=a?`unchanged from ${w(n)} before the edit`:`NOT the ${w(n)} from before`;return o.undone(e,`weight hash ${w(
s)}, ${r}.`)};const u={"in force":"Undo: weights back, bit-equal",undone:"Undone: weights bit-equal"};const m=({ready:
s,name:a})=>{const o=n.get("force");l.setAttribute("data-state",o.state);i.disabled=!s||!!o.doing;if(a)e(i,a);c.
disabled=o.state!=="in force";e(c,o.state==="undone"&&!o.same?"Undo":u[o.state]??"Undo");r.replaceChildren(o.doing??d(
o),...o.text?[t("strong",{class:"mn-bad",text:` ${o.text}`})]:[])};return{element:l,draw:m}};const Y=(e,{send:n,
listen:s})=>{const a=t("select",{"data-testid":"examples","aria-label":"Example shown",onchange:()=>n("example",{
number:Number(a.value)})});const r=t("label",{class:"mn-examples"},t("span",{class:"mn-note",text:"Example"}),a);
const i=()=>{const{names:t=[],own:n=false,chosen:s=null}=e.get("examples");r.hidden=t.length+n<1||t.length===1&&!n&&
s===0;a.replaceChildren(...s===null?[o("","choose one …")]:[],...t.map((t,e)=>o(String(e),t)),...n?[o("-1",
"your last input")]:[]);a.value=s===null?"":String(s)};s(["examples"],i);i();return r};const D=(n,s,{send:a,listen:o},
{start:r,label:i,help:c,stop:l,unit:d})=>{const u=t("button",{class:"mn-button mn-primary",type:"button",
"data-testid":"run",text:i,title:`${c} (Ctrl+Enter)`,onclick:r});const m=t("button",{class:"mn-button",type:"button",
"data-testid":"stop",text:"Stop",title:l,onclick:()=>a("stop")});const h=t("div",{class:"mn-progress-fill"}),p=t(
"span",{class:"mn-note","data-testid":"progress",role:"status"});const f=t("div",{class:"mn-progress",role:
"progressbar","aria-label":d,"aria-valuemin":0,"aria-valuemax":100},h);const g=t("div",{class:"mn-error",role:"alert",
"data-testid":"error",hidden:true});const b=()=>{const a=n.get("status"),o=n.get("progress"),r=o.total?Math.round(
100*o.done/o.total):0,i=n.get("error");m.disabled=a!=="running";s.setAttribute("data-status",a);f.hidden=a!==
"running"&&a!=="stopping";h.style.width=`${r}%`;f.setAttribute("aria-valuenow",r);e(p,o.text??"");g.hidden=!i.text;g.
replaceChildren(...i.text?[t("strong",{text:i.title}),t("pre",{text:i.text})]:[])};o(["status","progress","error"],b);
b();const w=t("div",{class:"mn-run"},u,m,t("div",{class:"mn-status"},f,p));return{run:u,row:w,error:g}};const F=(e,{
title:s,testid:a,name:o,kind:r,data:i,start:c,label:l="Run",help:m,stop:h,unit:p})=>{const f=O(e);const g=t("span",{
class:"mn-chip","data-testid":"model",text:i??e.get("model_info").text});const b=t("div",{class:`mnemoscope ${r}`,
"data-testid":a,"data-lm-suppress-shortcuts":"true",role:"region","aria-label":o});const{run:w,row:v,error:x}=D(e,b,f,
{start:c,label:l,help:m,stop:h,unit:p});b.addEventListener("keydown",t=>{if(t.key!=="Enter"||!(t.ctrlKey||t.
metaKey))return;t.preventDefault();t.stopPropagation();w.click()});const y=(a,{parts:o,drawer:r,box:i,draw:c})=>{
const l=t("header",{class:"mn-header"},t("h2",{text:s}),t("div",{class:"mn-about"},Y(e,f),g));b.append(l,...o.filter(
t=>t),r.element);d(a,b);const m=()=>{b.setAttribute("data-dark",j(b).dark);c()};f.listen(["saved","code"],r.draw);f.
undo.push(T(m),n(b,i,m),u(e.get("static_key")));r.draw();return()=>{for(const t of f.undo)t()}};return{...f,root:b,
line:g,run:w,row:v,error:x,open:y}};const B="retain_only";const X=(t,e,n)=>e===n?{stroke:t.accent,width:2,dash:null}:
e===B?{stroke:t.other,width:1.6,dash:"7 3"}:{stroke:e==="twin"?t.text:t.muted,...q[e]??q.start};const q={twin:{width:
1.4,dash:"2 3"},start:{width:1.2,dash:"10 3 2 3"},clean:{width:1.2,dash:"14 4"},never_knew:{width:1.6,dash:"1 5"}};
const V={retain_only:"training on the retain set alone",start:"the start",twin:"the twin, which never had the rows",
clean:"the model before",never_knew:"a model that never knew"};const G=t=>V[t]??t.replaceAll("_"," ");const K=t=>t.
arms.filter(t=>!t.includes(" after "));const H=(t,e,n)=>n("div",{class:"mn-key","data-testid":"key"},...K(e).map(s=>{
const{stroke:a,width:o,dash:r}=X(t,s,e.method);return n("span",{},y("svg",{width:30,height:8,"aria-hidden":"true"},y(
"line",{x1:0,x2:30,y1:4,y2:4,style:`stroke:${a}`,"stroke-width":o,"stroke-dasharray":r})),G(s))}));const J=(t,e,n,s,
a)=>{const o=K(e),r=o.flatMap(t=>n.lines[t]??[]),i=r.flatMap(([,t,e,n])=>[t,e,n]).filter(t=>!p(t)),c=Math.max(1e-9,
...r.map(([t])=>t)),l=n.share?1:Math.max(1e-9,...i)*1.05,d=n.share?0:Math.min(0,...i);const u=o.filter(t=>n.lines[
t]?.length).map(t=>`${G(t)} ends at ${g(n.lines[t].at(-1)[1])}`);const m=M(t,{width:s,height:a,title:n.name,label:
`${n.name} by dose: ${u.join(", ")}.`,x:{low:0,high:c,marks:$(0,c,5).map(t=>[t,g(t)]),title:"dose (steps)"},y:{low:d,
high:l,marks:$(d,l,4).map(t=>[t,g(t)]),title:n.share?"share, probability":"nats"}});for(const s of o){const a=n.lines[
s]??[],{stroke:o,width:r,dash:i}=X(t,s,e.method),c={style:`stroke:${o};fill:none`,"stroke-width":r,"stroke-dasharray":
i};if(!a.length)continue;if(e.models.includes(s)){const t=m.Y(a[0][1]);m.root.append(y("line",{x1:m.left,x2:m.right,
y1:t,y2:t,"data-arm":s,...c}));continue}m.root.append(y("path",{d:`M${a.map(([t,e])=>`${m.X(t).toFixed(1)} ${m.Y(e).
toFixed(1)}`).join("L")}`,"data-arm":s,...c}));for(const[n,r,i,c]of a){const a=m.X(n)+(s===e.method?0:3),l=y("g",{
style:`stroke:${o}`},y("title",{},`${G(s)}, dose ${g(n)}: ${g(r)} ${b(i,c)}`));if(!p(i)&&!p(c))l.append(y("line",{x1:
a,x2:a,y1:m.Y(i),y2:m.Y(c)}));l.append(y("circle",{cx:a,cy:m.Y(r),r:3,style:`fill:${o};stroke:${t.page}`}));m.root.
append(l)}}return m.root};const Q=t=>E("arms",["arm",...t.measures.map(t=>t.name)],t.arms.map(e=>[`${e}${t.status[
e]==="complete"?"":` (${t.status[e]})`}`,...t.measures.map(t=>{const n=t.lines[e]?.at(-1);return n?[g(n[1]),b(n[2],n[
3])]:"–"})]));const Z=t=>t.measures.flatMap(e=>t.arms.flatMap(t=>(e.lines[t]??[]).map(([n,s,a,o])=>[e.name,t,n,s,a??
NaN,o??NaN])));const tt=[["int4","round its weights to 4 bits"],["int8","round its weights to 8 bits"],["relearn",
"train it 10 steps on the retain set"]];const et=[["forget","forget"],["retain","retain"],["neither","neither"]];
function nt({model:n,el:s}){const a=F(n,{title:"Unlearning bench",testid:"unlearning-bench",name:"Unlearning bench",
kind:"mn-panels mn-unlearning",label:"Unlearn",help:"Walk the method’s path on a copy of the model",stop:
"Stop after the step in progress; looks that are there stay",unit:"Steps",start:()=>{N();d("run",{fields:{...M(),
roles:y("roles")}})}});const{send:d,listen:u,set:p,root:g,row:b,error:w}=a,y=t=>n.get(t);const{bound:$,shown:M,flush:
N,choose:E}=R(n,u,p);const C=t("p",{class:"mn-note","data-testid":"does"});const S=t("div",{class:"mn-controls"},r(
"Method",E("method",y("methods").map(t=>[t.name,t.title]))),r("Dose: steps",$("steps",t("input",{type:"number",min:1,
step:1}))),r("Learning rate",$("rate",t("input",{type:"number",min:0,step:"any"}))),b,C);const L=()=>e(C,y("methods").
find(t=>t.name===y("method"))?.does??"");const A=t("details",{class:"mn-more","data-testid":"rows"}),j=t("summary");
const T=[];const U=y("rows").map(({row:e,prompt:n,answer:s,unit:a})=>{const r=t("select",{"aria-label":
`Row ${e}: forget, retain or neither`,"data-row":e,onchange:()=>{const t=[...y("roles")];t[e]=r.value;p({roles:t})}},
...et.map(([t,e])=>o(t,e)));T.push([e,r]);return t("tr",{},t("td",{class:"mn-role"},r),t("td",{text:m(n)}),t("td",{
text:m(s)}),...a?[t("td",{text:m(a)})]:[])});const O=y("rows").some(t=>t.unit);A.append(j,t("div",{class:
"mn-tablebox"},t("table",{class:"mn-table mn-rows-list"},t("thead",{},t("tr",{},...["to","prompt","answer",...O?[
"unit"]:[]].map(e=>t("th",{scope:"col",text:e})))),t("tbody",{},...U))));const _=()=>{const t=y("roles"),n=e=>t.
filter(t=>t===e).length;for(const[e,n]of T)n.value=t[e]??"neither";const s=t.length-U.length;e(j,`Rows: ${n(
"forget")} to forget, ${n("retain")} to retain`+`${n("neither")?`, ${n("neither")} left out`:""}`+`${s>0?`; ${s.
toLocaleString("en")} of them are not listed`:""}`)};const Y=c("Nothing unlearned yet",
"Unlearn trains a copy of the model to forget the rows, looks at it on the way, and draws the path beside "+
"training on the retain set alone and beside the models given. The model itself stays as it is."),D=t("div",{class:
"mn-empty","data-testid":"busy"},t("strong",{text:"Walking the path …"})),B=t("p",{class:"mn-caption","data-testid":
"caption"}),X=t("div",{"data-testid":"curves"}),q=t("div");const V=(t,e)=>{const n=y("curves");return n.measures.
filter(t=>t.drawn).map(s=>J(t,n,s,e,210))};const G=()=>{if(!g.isConnected)return;const n=y("curves"),s=!!n.measures;
for(const t of[ct,lt.element])t.hidden=!s;Y.hidden=s||!!y("error").text||y("status")==="running";D.hidden=s||y(
"status")!=="running";it();ot();if(!s)return;const a=Math.min(g.clientWidth-30||900,1500),o=Math.max(1,Math.min(Math.
floor((a+18)/290),n.measures.filter(t=>t.drawn).length)),r=Math.floor((a-18*(o-1))/o);const i=[...new Set(n.measures.
filter(t=>t.drawn).map(t=>t.n))].join(", "),c=y("methods").find(t=>t.name===n.method)?.title??n.method;e(B,`${c}: ${f(
n.steps,"step")} at learning rate ${n.rate}; ${n.forget} rows to forget, ${n.retain} to `+`retain. Bars: ${100*n.
level} % intervals over units (n ${i}), of this one training.`);X.replaceChildren(H(v,n,t),t("div",{class:
"mn-charts"},...V(v,Math.min(r,460))));q.replaceChildren(Q(n),...n.models.includes("twin")?[]:[t("p",{class:
"mn-warning","data-testid":"no-twin",text:"No twin was given: where forgetting should arrive is not known."})])};
const K=t("select",{"data-testid":"attack","aria-label":"Attack"},...tt.map(([t,e])=>o(t,e))),nt=W("attack-run",
"Attack",()=>d("attack",{name:K.value})),st=t("span",{class:"mn-note",role:"status","data-testid":"attack-status"}),
at=t("div");const ot=()=>{const t=y("attack");nt.disabled=t.status==="running"||y("status")==="running"||!y("curves").
measures;e(st,t.status==="error"?"":t.text??"");at.replaceChildren(...t.status==="error"?[l("The attack was not made",
t.text,"attack-error")]:[])};const rt=I(n,d,{fields:M,words:{edited:(t,e)=>
`In force: ${t}. ${e}; whatever the notebook asks this model now is answered by the unlearned one.`,undone:(t,e)=>
`Put back after ${t}: ${e}`,none:()=>
"The model is as it was given. Put the unlearned weights in force to ask them in the notebook."}});const it=()=>rt.
draw({ready:y("status")!=="running"&&!!y("curves").measures,name:"Put the unlearned weights in force"});const ct=t(
"div",{},B,X,i({label:"Last looks",title:"Last looks"},q),i({label:"Attack",title:"What comes back under an attack",
beside:[K,nt,st]},t("p",{class:"mn-note",text:
"Start and twin are attacked alike: what comes back in the arm and not in the twin was hidden."}),at),i({label:
"Weights",title:"Weights"},rt.element));const lt=z(n,d,{stem:()=>`unlearning_${y("curves").method}`,figure:()=>P(V(x,
360).map(k)),table:()=>h(["measure","arm","dose","mean","low","high"])+Z(y("curves")).map(h).join(""),example:
"unlearned.zarr, unlearned.nc, unlearned.csv"});u(["curves","status","error"],G);u(["attack"],ot);u(["force"],it);u([
"roles"],_);u(["method"],L);const dt=a.open(s,{parts:[S,A,w,Y,D,ct],drawer:lt,box:g,draw:G});_();L();G();
return dt}var st={render:nt};export{st as default};
