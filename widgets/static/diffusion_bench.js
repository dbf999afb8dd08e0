// Built by npm run build from 21 files, sha256 db0fbdb93fbc2a49f49649da6c5a3f090c95f7dfe1d6bb21f51028111289f12d
const t=(t,e={},...s)=>{const n=document.createElement(t);for(const[t,s]of Object.entries(e)){if(s===null||s===
undefined||s===false)continue;if(t==="text")n.textContent=s;else if(t.startsWith("on"))n.addEventListener(t.slice(2),
s);else if(t==="value")n.value=s;else n.setAttribute(t,s===true?"":s)}n.append(...s.filter(t=>t!==null&&t!==
undefined));if(n.matches("input, select, textarea, button, summary, [tabindex]"))n.setAttribute(
"data-lm-suppress-shortcuts","true");return n};const e=(t,e)=>{if(t.textContent!==e)t.textContent=e};const s=(t,e,s)=>
{let n=0;const i=new ResizeObserver(()=>{const i=t.isConnected?e.clientWidth:0,o=Math.abs(i-n)>4;n=i;if(!i)return;if(
o)s();t.setAttribute("data-ready","true")});i.observe(e);return()=>i.disconnect()};const n=(e,s,n)=>{const i=URL.
createObjectURL(n instanceof Blob?n:new Blob([n],{type:s}));const o=t("a",{href:i,download:e});document.body.append(
o);o.click();o.remove();setTimeout(()=>URL.revokeObjectURL(i),1e4)};const i=async(t,e)=>{try{await navigator.
clipboard.writeText(t)}catch{e.focus();e.select();document.execCommand("copy")}};const o=(e,s)=>t("option",{value:e,
text:s});const a=(e,s,n)=>t("label",{class:"mn-field"},t("span",{class:"mn-label",text:e}),s,null);const r=({label:e,
title:s,beside:n=[],...i},...o)=>t("section",{class:"mn-section","aria-label":e,...i},t("div",{class:"mn-side-head"},
typeof s==="string"?t("h3",{text:s}):s,...n),...o);const l=(e,s,n={"data-testid":"empty"})=>t("div",{class:"mn-empty",
...n},t("strong",{text:e}),t("p",{text:s}));let c=0;const d=t=>`mn-${t}-${++c}-${Math.random().toString(36).slice(2,
7)}`;const h=(t,e)=>{t.append(e);e.addEventListener("pointerdown",t=>{const e=t.button===0&&t.target.closest(
"button");if(!e||e.disabled)return;const s=n=>{if(n.pointerId!==t.pointerId)return;document.removeEventListener(
"pointerup",s,true);document.removeEventListener("pointercancel",s,true);const i=Math.hypot(n.clientX-t.clientX,n.
clientY-t.clientY)<6;if(n.type==="pointerup"&&i&&!e.contains(n.target)&&e.isConnected)e.click()};document.
addEventListener("pointerup",s,true);document.addEventListener("pointercancel",s,true)})};const u=e=>{if(!e||
!/^[\w-]+$/.test(e))return()=>{};const s=t("style",{text:
`.jp-OutputArea-child:has(.mnemoscope-static-${e}), .mnemoscope-static-${e} { display: none `+`!important; }`});
document.head.append(s);return()=>s.remove()};const m=t=>[1,3,5].map(e=>parseInt(t.slice(e,e+2),16));const p=([t,e,
s])=>`rgb(${Math.round(t)},${Math.round(e)},${Math.round(s)})`;const f=([t,e,s])=>(.2126*t+.7152*e+.0722*s)/255;
const g=t=>{const e=t.map(m),s=e.length-1;return t=>{const n=Math.min(1,Math.max(0,t))*s,i=Math.min(s-1,Math.floor(
n)),o=n-i;return e[i].map((t,s)=>t+o*(e[i+1][s]-t))}};const w={light:{diverging:g(["#0a3a75","#2f7fc1","#a6cdec",
"#f9f9f7","#fbc98f","#dd7f1d","#853703"]),single:g(["#f9f9f7","#b9d8ee","#5a9fd4","#1f62a6","#08264f"]),missing:[214,
214,214],ink:"#1c1c1c"},dark:{diverging:g(["#a9d6ff","#4a9be0","#22507d","#202328","#7a4515","#dd8430","#ffd0a0"]),
single:g(["#202328","#1d4a73","#2f7fc1","#7cbcf0","#e6f4ff"]),missing:[78,82,88],ink:"#f2f2f2"}};const b=e=>{const s=
getComputedStyle(e.closest(".mnemoscope")??e);const n=(t,e)=>s.getPropertyValue(t).trim()||e;const i=t("canvas",{
width:1,height:1}).getContext("2d",{willReadFrequently:true});i.fillStyle="#ffffff";i.fillStyle=s.backgroundColor;i.
fillRect(0,0,1,1);const o=[...i.getImageData(0,0,1,1).data].slice(0,3),a=f(o)<.4;const r=a?w.dark:w.light;return{dark:
a,...r,page:o,text:s.color,muted:n("--mn-muted","#666"),accent:n("--mn-accent","#0b6bcb"),background:s.
backgroundColor,font:n("--mn-font","system-ui, sans-serif"),mono:n("--mn-mono","monospace")}};const y=t=>{const e=
new MutationObserver(()=>requestAnimationFrame(t));for(const t of[document.documentElement,document.body])e.observe(t,
{attributes:true,attributeFilter:["class","style","data-jp-theme-name","data-jp-theme-light",
"data-vscode-theme-kind"]});const s=matchMedia("(prefers-color-scheme: dark)");s.addEventListener("change",t);return(
)=>{e.disconnect();s.removeEventListener("change",t)}};const v=t=>{if(t==="")return"∅";return t.replace(/ /g,"·").
replace(/\r?\n/g,"⏎").replace(/\t/g,"⇥").replace(
/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,t=>`‹${t.codePointAt(0).toString(16).
padStart(4,"0")}›`)};const x=(t,e)=>[...t].length>e?[...t].slice(0,e-1).join("")+"…":t;const k=t=>t.map(t=>typeof t===
"string"?`"${t.replace(/"/g,'""')}"`:Number.isNaN(t)?"":String(t)).join(",")+"\r\n";const $=t=>t===null||t===
undefined||Number.isNaN(t);const M=(t,e)=>`${t.toLocaleString("en")} ${e}${t===1?"":"s"}`;const A=t=>{if($(
t))return"–";const e=Math.abs(t);return(e&&(e<1e-4||e>=1e6)?t.toExponential(1):String(Number(t.toPrecision(3)))).
replace(/-/g,"−")};const T=t=>$(t)?"–":`${A(100*t)} %`;const S=(t,e,s=A)=>$(t)||$(e)?"":`${s(t)} to ${s(e)}`;const L=
t=>v(t).replace(/·/g," ");const E=t=>t?t.slice(0,12):"…";const C=(e,s=3)=>new Promise((n,i)=>{const o=new Image;o.
onload=()=>{const i=t("canvas",{width:e.width*s,height:e.height*s});const a=i.getContext("2d");a.scale(s,s);a.
drawImage(o,0,0);i.toBlob(n,"image/png")};o.onerror=()=>i(new Error("the browser could not draw the figure"));o.src=
"data:image/svg+xml;charset=utf-8,"+encodeURIComponent(e.text)});const O=t=>{if(!t)return new Float32Array(0);const e=
t instanceof ArrayBuffer?new DataView(t):t;const s=e.byteOffset%4?e.buffer.slice(e.byteOffset,e.byteOffset+e.
byteLength):e.buffer;return new Float32Array(s,e.byteOffset%4?0:e.byteOffset,Math.floor(e.byteLength/4))};const N=t=>
new Uint8Array(t.buffer??t,t.byteOffset??0,t.byteLength);const W=t=>{const e=[];return{undo:e,send:(e,s={})=>t.send({
type:e,...s}),listen:(s,n)=>{for(const i of s){t.on(`change:${i}`,n);e.push(()=>t.off(`change:${i}`,n))}},set:e=>{for(
const[s,n]of Object.entries(e))t.set(s,n);t.save_changes()}}};const H=(e,s,n)=>{const i={},a={range:true,number:true};
const r=(t,s)=>{const n=typeof e.get(t);return n==="boolean"?s.checked:n!=="number"?s.value:s.value===""?NaN:Number(s.
value)};const l=(t,e)=>{if(t.type==="checkbox")t.checked=e;else t.value=e};const c=(t,o)=>{i[t]=o;o.setAttribute(
"data-testid",t);let c,d,h=0;const u=()=>{clearTimeout(d);const s=h-Date.now();if(s>0){d=setTimeout(u,s);return}if(r(
t,o)!==e.get(t)){l(o,e.get(t));o.dispatchEvent(new Event("pulled"))}};u();s([t],u);const m=()=>{clearTimeout(c);
const s=r(t,o);if(!Number.isNaN(s)&&s!==e.get(t))n({[t]:s})};o.addEventListener("change",m);if(o.tagName!=="SELECT"&&
o.type!=="checkbox")o.addEventListener("input",()=>{clearTimeout(c);if(a[o.type]){h=Date.now()+700;m()}else c=
setTimeout(m,350)});o.flush=m;return o};return{inputs:i,bound:c,shown:()=>Object.fromEntries(Object.entries(i).map(([
t,e])=>[t,r(t,e)]).filter(([,t])=>!Number.isNaN(t))),flush:()=>{for(const t of Object.values(i))t.flush()},area:(e,s={
})=>c(e,t("textarea",{rows:2,spellcheck:"false",autocapitalize:"off",...s})),line:(e,s)=>c(e,t("input",{type:"text",
spellcheck:"false",autocomplete:"off",placeholder:s})),choose:(e,s)=>c(e,t("select",{},...s.map(([t,e])=>o(t,e))))}};
const P=(e,s,n,i="")=>t("button",{type:"button",class:`mn-button ${i}`,"data-testid":e,text:s,onclick:n});const j=(t,
e,s)=>{let i=t.get("document").number??0;e(["document"],()=>{const{number:e,kind:o,type:a,data:r}=t.get("document");
if(!e||e===i)return;i=e;n(`${s()}.${o}`,a,N(r))})};const R={svg:"Figure (SVG)",png:"Figure (PNG)",csv:"Data (CSV)",
save:"Save the labelled data on the kernel’s machine as"};const z=(s,o,{stem:r,figure:l,table:c,example:d,labels:h={},
before:u=[],after:m=[]})=>{const p={...R,...h};const f=t("textarea",{class:"mn-code",readonly:true,rows:12,spellcheck:
"false","aria-label":"Python that reproduces this view","data-testid":"code"});const g=t("input",{type:"text",
"data-testid":"path",placeholder:d,spellcheck:"false"});const w=t("div",{class:"mn-note","data-testid":"saved",role:
"status"}),b=t("input",{type:"checkbox","data-testid":"overwrite"});const y=()=>o("save",{path:g.value,overwrite:b.
checked});g.onkeydown=t=>{if(t.key==="Enter")y()};const v=async t=>{const s=t.currentTarget;await i(f.value,f);e(s,
"Copied");setTimeout(()=>e(s,"Copy"),1500)};const x=t("div",{},t("div",{class:"mn-buttons"},...u,P("svg",p.svg,()=>n(
`${r()}.svg`,"image/svg+xml",l().text)),P("png",p.png,async()=>n(`${r()}.png`,"image/png",await C(l()))),P("csv",p.
csv,()=>n(`${r()}.csv`,"text/csv",c())),...m),t("div",{class:"mn-saverow"},a(p.save,g),P("save","Save",y),t("label",{
class:"mn-check"},b,"replace what is there")),w);const k=t("details",{class:"mn-more","data-testid":"export"},t(
"summary",{text:"Export and code"}),x,t("div",{class:"mn-side-head"},t("span",{class:"mn-label",text:
"Python that reproduces this view"}),P("copy","Copy",v,"mn-small")),f);const $=()=>{const t=s.get("saved");e(w,t.
text??"");w.classList.toggle("mn-bad",t.ok===false);f.value=s.get("code");f.rows=f.value.split("\n").length+1};return{
element:k,files:x,draw:$}};const D=(e,s,{title:n,names:i})=>{const o=t("div",{class:"mn-error",role:"alert",
"data-testid":"refused",hidden:true});const a=()=>{const a=e.get("doubts"),r=!!a.refused&&i.every(t=>a[t]===e.get(t));
o.hidden=!r;o.replaceChildren(...r?[t("strong",{text:n}),t("pre",{text:a.refused})]:[]);if(r&&e.get("error").text===a.
refused)s.hidden=true};return{element:o,draw:a}};const U=(e,{send:s,listen:n})=>{const i=t("select",{"data-testid":
"examples","aria-label":"Example shown",onchange:()=>s("example",{number:Number(i.value)})});const a=t("label",{class:
"mn-examples"},t("span",{class:"mn-note",text:"Example"}),i);const r=()=>{const{names:t=[],own:s=false,chosen:n=null}=
e.get("examples");a.hidden=t.length+s<1||t.length===1&&!s&&n===0;i.replaceChildren(...n===null?[o("","choose one …")]:
[],...t.map((t,e)=>o(String(e),t)),...s?[o("-1","your last input")]:[]);i.value=n===null?"":String(n)};n(["examples"],
r);r();return a};const _=(s,n,{send:i,listen:o},{start:a,label:r,help:l,stop:c,unit:d})=>{const h=t("button",{class:
"mn-button mn-primary",type:"button","data-testid":"run",text:r,title:`${l} (Ctrl+Enter)`,onclick:a});const u=t(
"button",{class:"mn-button",type:"button","data-testid":"stop",text:"Stop",title:c,onclick:()=>i("stop")});const m=t(
"div",{class:"mn-progress-fill"}),p=t("span",{class:"mn-note","data-testid":"progress",role:"status"});const f=t(
"div",{class:"mn-progress",role:"progressbar","aria-label":d,"aria-valuemin":0,"aria-valuemax":100},m);const g=t(
"div",{class:"mn-error",role:"alert","data-testid":"error",hidden:true});const w=()=>{const i=s.get("status"),o=s.get(
"progress"),a=o.total?Math.round(100*o.done/o.total):0,r=s.get("error");u.disabled=i!=="running";n.setAttribute(
"data-status",i);f.hidden=i!=="running"&&i!=="stopping";m.style.width=`${a}%`;f.setAttribute("aria-valuenow",a);e(p,o.
text??"");g.hidden=!r.text;g.replaceChildren(...r.text?[t("strong",{text:r.title}),t("pre",{text:r.text})]:[])};o([
"status","progress","error"],w);w();const b=t("div",{class:"mn-run"},h,u,t("div",{class:"mn-status"},f,p));return{run:
h,row:b,error:g}};const I=(e,{title:n,testid:i,name:o,kind:a,data:r,start:l,label:c="Run",help:d,stop:m,unit:p})=>{
const f=W(e);const g=t("span",{class:"mn-chip","data-testid":"model",text:r??e.get("model_info").text});const w=t(
"div",{class:`mnemoscope ${a}`,"data-testid":i,"data-lm-suppress-shortcuts":"true",role:"region","aria-label":o});
const{run:v,row:x,error:k}=_(e,w,f,{start:l,label:c,help:d,stop:m,unit:p});w.addEventListener("keydown",t=>{if(t.
key!=="Enter"||!(t.ctrlKey||t.metaKey))return;t.preventDefault();t.stopPropagation();v.click()});const $=(i,{parts:o,
drawer:a,box:r,draw:l})=>{const c=t("header",{class:"mn-header"},t("h2",{text:n}),t("div",{class:"mn-about"},U(e,f),
g));w.append(c,...o.filter(t=>t),a.element);h(i,w);const d=()=>{w.setAttribute("data-dark",b(w).dark);l()};f.listen([
"saved","code"],a.draw);f.undo.push(y(d),s(w,r,d),u(e.get("static_key")));a.draw();return()=>{for(const t of f.undo)t(
)}};return{...f,root:w,line:g,run:v,row:x,error:k,open:$}};const F=(s,n,{fields:i,words:o})=>{const a=t("p",{
"data-testid":"force",role:"status"}),r=P("put","Put this edit in force",()=>n("put",{fields:i()})),l=P("undo","Undo",
()=>n("undo")),c=t("div",{class:"mn-weights","data-testid":"weights"},r,l,a);const d=({state:t,what:e,before:s,now:n,
same:i})=>{if(t==="in force")return o.edited(e,`Weight hash ${E(s)} → ${E(n)}`);if(t==="error")return"";if(t!==
"undone")return o.none();const a=i?`unchanged from ${E(s)} before the edit`:`NOT the ${E(s)} from before`;return o.
undone(e,`weight hash ${E(n)}, ${a}.`)};const h={"in force":"Undo: weights back, bit-equal",undone:
"Undone: weights bit-equal"};const u=({ready:n,name:i})=>{const o=s.get("force");c.setAttribute("data-state",o.state);
r.disabled=!n||!!o.doing;if(i)e(r,i);l.disabled=o.state!=="in force";e(l,o.state==="undone"&&!o.same?"Undo":h[o.
state]??"Undo");a.replaceChildren(o.doing??d(o),...o.text?[t("strong",{class:"mn-bad",text:` ${o.text}`})]:[])};
return{element:c,draw:u}};const K=(e,s,n)=>t("div",{class:"mn-field mn-slide"},t("span",{},t("span",{class:"mn-label",
text:e}),s),n);const B=({model:s,send:n,push:i,bound:o,steps:a,asked:l})=>{const c=s.get("sparsities"),d=t=>c.reduce((
e,s,n)=>Math.abs(Math.log(s/t))<Math.abs(Math.log(c[e]/t))?n:e,0);const h=t("input",{type:"range",min:0,max:c.length-
1,step:1,"data-testid":"sparsity","aria-label":"Sparsity: share of each row’s weights set to 0 at one step"}),u=t(
"output",{"data-testid":"sparsity-now"});const m=o("first",t("input",{type:"range",min:1,max:a,step:1,"aria-label":
"Denoising steps whose masks are united"})),p=t("output",{"data-testid":"first-now"});h.oninput=()=>i({sparsity:c[
Number(h.value)]});const f=t("p",{class:"mn-note","data-testid":"edit",role:"status"});const g=F(s,n,{fields:l.fields,
words:{edited:(t,e)=>`The model is edited now: ${t}. ${e}; whatever `+
`the notebook asks this pipeline is answered by the edited one.`,undone:(t,e)=>
`The model is not edited: ${t} was undone; ${e}`,none:()=>l.busy()?
"While pictures are drawn, the weights are edited and restored.":
"The model is not edited: the pictures below were drawn with the edit and the weights "+
"restored. Here it can be left in force, to try in the notebook."}});const w=r({label:"The edit",title:"The edit"},t(
"div",{class:"mn-moves"},K("Sparsity: share of each row’s weights, at one step ",u,h),K(
"First denoising steps, masks united ",p,m)),f,g.element);const b=t=>{if(!t.weights)return"";if(l.current(t.
key))return`The mask sets ${t.weights.toLocaleString("en")} weights to 0, ${T(t.density)} of those in `+`the ${l.
placeOf(t.key.place).layers}.`;const e=!l.busy()&&t.key.place!==s.get("place");
return`The pictures with an edit are still of ${t.text}.`+(e?` “Locate and draw” makes those of the ${l.placeNow().
layers}.`:"")};const y=()=>{const t=s.get("sparsity"),n=s.get("first"),i=l.placeNow().alike;h.value=d(t);e(u,A(t));h.
setAttribute("aria-valuetext",A(t));e(p,i?"makes no difference here":`${n} of ${a}`);m.setAttribute("aria-valuetext",
i?p.textContent:`${n} of ${a} steps`);m.disabled=i;m.title=i?
"Keys and values read the caption’s words, the same at every step: so are the masks":"";e(f,b(s.get("edit")))};
const v=()=>{const{weights:t,key:e}=s.get("edit");g.element.hidden=!t&&s.get("force").state==="none";g.draw({ready:!l.
busy()&&!!t&&l.current(e)})};return{element:w,draw:y,drawForce:v}};const V={other:"#b35900"};const q=(t,e={},...s)=>{
const n=document.createElementNS("http://www.w3.org/2000/svg",t);for(const[t,s]of Object.entries(e))if(!$(s))n.
setAttribute(t,s);n.append(...s);return n};const G=t=>({text:(new XMLSerializer).serializeToString(t),width:Number(t.
getAttribute("width")),height:Number(t.getAttribute("height"))});const X=(...e)=>t("thead",{},t("tr",{},...e.map(e=>t(
"th",{scope:"col",text:e}))));const Y=(e,s,n)=>t("div",{class:"mn-tablebox"},t("table",{class:"mn-table",
"data-testid":e},X(...s),t("tbody",{},...n.map(([e,...s])=>t("tr",{},t("th",{scope:"row",text:e}),...s.map(e=>Array.
isArray(e)?t("td",{},t("span",{text:e[0]}),e[1]?t("span",{class:"mn-why",text:e[1]}):null):t("td",{text:e})))))));
const J=[["training","Training picture","training picture"],["before","Before","drawn by the unedited model"],[
"after","After the edit","drawn by the edited model"],["random","Random control",
"drawn with as many random weights set to 0"],["attacked","After the attack",
"drawn by the edited model from an optimised embedding"]];const Q=["before","after","random","attacked"];const Z=[
"memorised","reference","place","method","chosen","sparsity","first"];const tt=(t,e)=>JSON.stringify(t)===JSON.
stringify(e);const et=t=>{const e=t?.sizes??[],s=t?.data?N(t.data):new Uint8Array(0),n=[],i=[];let o=0;for(
const t of e){i.push(o);o+=t}return t=>{if(!e[t])return"";if(n[t]===undefined){const o=s.subarray(i[t],i[t]+e[t]);
let a="";for(const t of o)a+=String.fromCharCode(t);n[t]=`data:image/${o[0]===255?"jpeg":"png"};base64,${btoa(
a)}`}return n[t]}};const st=(t,e,s,n)=>{if(!t?.sizes)return null;const i=e*s,o=et(t),a=(t,e,n)=>t*i+e*s+n;return{...t,
ready:t.status==="ready",file:(t,e,s)=>{for(let n=t;n>=0;n--){const t=o(a(n,e,s));if(t)return t}return""},value:(e,s,
n)=>t.values[a(e,s,n)]??null,copy:(e,i,o)=>e===n-1&&t.copied.length?t.copied[i*s+o]:null}};const nt=(t,e)=>{const s=[
""];for(const n of t.split(" ")){const t=s.at(-1);if(t&&[...t].length+[...n].length+1>e)s.push(n);else s[s.length-1]=
t?`${t} ${n}`:n}return s.map(t=>x(t,e+2))};const it=t=>t===true?"copy":t===false?"no copy":"";const ot=
"system-ui, DejaVu Sans, Arial, sans-serif";const at=(t,e,{box:s,letters:n,sharp:i})=>{const o=112,a=s+14,r=t.map(t=>
nt(L(t),Math.floor(a/5.6)).slice(0,6)),l=10+12*Math.max(1,...r.map(t=>t.length)),c=s+n,d=o+a*t.length+6,h=l+c*e.
length+8;const u=q("svg",{xmlns:"http://www.w3.org/2000/svg",width:d,height:h,viewBox:`0 0 ${d} ${h}`,"font-family":
ot,"font-size":10},q("rect",{width:d,height:h,fill:"#ffffff"})),m=(t,e,s,n={})=>q("text",{x:t,y:e,fill:"#1c1c1c",
...n},s);for(const[t,e]of r.entries())for(const[s,n]of e.entries()){const i=o+t*a+a/2;u.append(m(i,l-12*(e.length-s)+
4,n,{"text-anchor":"middle","font-size":9}))}e.forEach(([t,e],n)=>{const r=l+n*c;u.append(m(4,r+s/2,t,{"font-size":
11}));e.forEach((t,e)=>{const n=o+e*a+7;if(t.file)u.append(q("image",{x:n,y:r,width:s,height:s,href:t.file,style:i?
"image-rendering:pixelated":null}));u.append(q("rect",{x:n,y:r,width:s,height:s,fill:"none",stroke:t.copy?V.other:
"#d0d0d0","stroke-width":t.copy?2.5:.7}),...[t.said,it(t.copy)].map((e,i)=>m(n+s/2,r+s+12*(i+1),e,{"text-anchor":
"middle","font-weight":t.copy?"bold":"normal"})))})});return G(u)};const rt=({model:s,info:n,asked:i,push:o,side:a,
sharp:r,letter:l})=>{const c=n.frames.length,d=t("tr",{role:"row"}),h=t("tbody",{role:"rowgroup"}),u=t("table",{class:
"mn-pictures",role:"grid","data-testid":"grid","aria-label":
"Pictures: a row a state of the model, a column a caption"},t("thead",{role:"rowgroup"},d),h),m=t("p",{class:
"mn-note mn-readout","data-testid":"readout",role:"status"});let p=[],f=[],g=[],w=()=>"",b={},y=[0,0];const v=()=>
Math.min(s.get("seed"),n.seeds.length-1),k=()=>(s.get("prompts").sizes??[]).some(t=>t);const T=t=>$(t)?"":`${l} = ${t.
toFixed(2).replace("-0.00","0.00").replace("-","−")}`;const S=(t,e)=>{const[o,,a]=J[t],r=g[e];if(o===
"training")return{file:w(e),said:"",alt:`${L(r)}: ${a}`};const l=b[o];if(!l||l.memorised!==s.get("memorised"))return{
file:"",said:"",alt:`${L(r)}: not ${a} yet`};const d=l.ready?Math.min(s.get("step"),c-1):Math.max(0,Math.min(s.get(
"step"),l.frames-1)),h=l.value(d,e,v()),u=l.copy(d,e,v()),m=T(h),p=d===c-1;return{file:l.file(d,e,v()),value:h,copy:u,
said:m,alt:`${L(r)}: ${a}${p?"":`, after step ${n.frames[d]} of ${n.steps}`}`+`${o!=="before"&&l.key&&!i.current(l.
key)?`, of an earlier edit`:""}`+`${m?`, ${m}`:""}${it(u)?`, ${it(u)}`:""}`}};const E=()=>e(m,g.length?`${S(...y).
alt}.`:"");const C=()=>{const e=s.get("prompts");g=e.captions??[];w=et(e);y=[0,0];f=g.map((e,s)=>t("input",{type:
"checkbox","aria-label":`The mask is located on: ${L(e)}`,"data-testid":`tick-${s}`,onchange:()=>N(s)}));d.
replaceChildren(t("th",{scope:"col",text:"Caption"}),...g.map((e,s)=>t("th",{scope:"col",title:L(e),style:
`min-width:${a+8}px`},t("span",{text:x(L(e),70)}),t("br"),t("label",{class:"mn-tick"},f[s],"located on"))));p=J.map(([
e,s],n)=>{const i=t("span",{class:"mn-row-note"}),o=t("tr",{role:"row","data-state":e},t("th",{scope:"row"},t("span",{
text:s}),i));const l=g.map((s,i)=>{const o=t("span",{class:"mn-said","aria-hidden":"true"}),l=t("span",{class:
"mn-said","aria-hidden":"true"}),c=t("img",{class:"mn-pic",style:`min-width:${a}px`,"data-sharp":r,draggable:
"false"}),d=t("td",{role:"gridcell",tabindex:n||i?"-1":"0","data-testid":`cell-${e}-${i}`},c,o,l);d.onfocus=()=>{O(n,
i,false)};return{td:d,picture:c,said:o,judged:l}});o.append(...l.map(t=>t.td));h.append(o);return{row:o,notes:i,line:
l}});h.replaceChildren(...p.map(t=>t.row))};const O=(t,e,s=true)=>{if(!p[t]?.line[e])return;p[y[0]]?.line[y[1]]?.td.
setAttribute("tabindex","-1");y=[t,e];const{td:n}=p[t].line[e];n.setAttribute("tabindex","0");if(s)n.focus();E()};
const N=t=>{const e=new Set(s.get("chosen"));if(e.has(t))e.delete(t);else e.add(t);o({chosen:[...e].sort((t,e)=>t-
e)})};h.onkeydown=t=>{if(!t.target.matches("td")||t.ctrlKey||t.altKey||t.metaKey)return;const e=p.map((t,e)=>e).
filter(t=>!p[t].row.hidden),s=e.indexOf(y[0]),n={ArrowUp:[s-1,y[1]],ArrowDown:[s+1,y[1]],ArrowLeft:[s,y[1]-1],
ArrowRight:[s,y[1]+1],Home:[s,0],End:[s,g.length-1]}[t.key];if(t.key===" ")N(y[1]);else if(!n)return;t.preventDefault(
);t.stopPropagation();if(n&&n[0]>=0&&n[0]<e.length&&n[1]>=0&&n[1]<g.length)O(e[n[0]],n[1])};const W=()=>{b=Object.
fromEntries(Q.map(t=>[t,st(s.get(t),g.length,n.seeds.length,c)]))};const H=t=>b[t]?.memorised===s.get("memorised")?b[
t]:null;const P=t=>t!=="before"&&!!H(t)&&!i.current(H(t).key);const j=t=>{if(t==="training")return!k();if(t===
"attacked")return!H(t)||P(t);return!H("before")&&(t!=="before"||!H(t))};const R=t=>{const e=H(t);if(t==="training"||
!e)return"";if(!e.ready)return`step ${n.frames[Math.max(0,e.frames-1)]} of ${n.steps} …`;if(P(
t))return"of an earlier edit";const o=i.placeNow().alike?"":`, ${M(s.get("first"),"step")}`;return{before:
"the model’s own weights",after:`${s.get("place")}, ${s.get("method")}, ${A(s.get("sparsity"))}${o}`,random:
"as many weights of each row",attacked:`${e.attack?.[0]} updates`}[t]};const z=({td:t,picture:s,said:n,judged:i},o)=>{
s.classList.toggle("mn-none",!o.file);if(o.file){if(s.getAttribute("src")!==o.file)s.src=o.file}else s.
removeAttribute("src");s.alt=o.alt;e(n,o.said);e(i,it(o.copy));t.setAttribute("data-copy",o.copy===true)};const D=()=>
{const t=new Set(s.get("chosen"));f.forEach((e,s)=>{e.checked=t.has(s)});p.forEach(({row:t,notes:s,line:n},i)=>{const[
o]=J[i];t.hidden=j(o);t.setAttribute("data-old",String(P(o)));e(s,R(o));n.forEach((t,e)=>{z(t,S(i,e))})});if(p[y[0]].
row.hidden)y=[0,y[1]];E()};return{element:t("div",{class:"mn-gridbox"},u),readout:m,build:C,read:W,draw:D,mine:H,
pictured:k,states:()=>b,captions:()=>g,rows:()=>J.map(([,t],e)=>[t,e]).filter(([,t])=>p[t]&&!p[t].row.hidden).map(([t,
e])=>[t,g.map((t,s)=>S(e,s))])}};class lt{constructor(e){this.canvas=t("canvas",{width:128,height:8,"aria-hidden":
"true"});this.low=t("span");this.middle=t("span");this.high=t("span");this.title=t("div",{class:"mn-bar-title"});this.
element=t("div",{class:"mn-bar",role:"img","data-testid":e},this.title,this.canvas,t("div",{class:"mn-bar-ends"},this.
low,this.middle,this.high))}update({ramp:t,low:s,middle:n="",high:i,title:o}){const a=this.canvas.getContext("2d");
for(let e=0;e<128;e++){a.fillStyle=p(t(e/127));a.fillRect(e,0,1,8)}e(this.low,s);e(this.middle,n);e(this.high,i);e(
this.title,o);this.element.setAttribute("aria-label",`Colour scale: ${o}, from ${s} to ${i}`)}}const ct=(t,e)=>{const{
rows:s,columns:n}=t.grid,i=(e,i)=>e>=0&&e<s&&i>=0&&i<n&&t.cone(e,i),{cw:o,ch:a}=t;e.lineWidth=1;const r=o>=6&&a>=6,l=
new Path2D;for(let c=0;c<s;c++)for(let s=0;s<n;s++){if(!i(c,s))continue;const n=s*o,d=t.y(c),h=t.grid.flip?c+1:c-1,u=
t.grid.flip?c-1:c+1;if(r){const i=t.grid.colour?t.grid.colour(c,s,t.theme)??t.theme.missing:t.theme.missing;e.
fillStyle=f(i)>.45?"rgba(0,0,0,.62)":"rgba(255,255,255,.75)";e.fillRect(n+o/2-1,d+a/2-1,2,2)}if(!i(h,s)){l.moveTo(n,d+
.5);l.lineTo(n+o,d+.5)}if(!i(u,s)){l.moveTo(n,d+a-.5);l.lineTo(n+o,d+a-.5)}if(!i(c,s-1)){l.moveTo(n+.5,d);l.lineTo(n+
.5,d+a)}if(!i(c,s+1)){l.moveTo(n+o-.5,d);l.lineTo(n+o-.5,d+a)}}e.strokeStyle=t.theme.background;e.lineWidth=3;e.
stroke(l);e.strokeStyle=t.theme.text;e.lineWidth=1.25;e.stroke(l)};const dt={minWidth:3,maxWidth:46,minHeight:3,
maxHeight:22,label:11};class ht{constructor({label:e,testid:s,name:n,hover:i=()=>{},select:o=()=>{},key:a=()=>false}){
Object.assign(this,{name:n,onHover:i,onSelect:o,onKey:a});this.focus={row:0,column:0};this.hovered=null;this.selected=
null;this.cone=null;this.marks=[];this.grid=null;const r=d("cell");this.cell=t("div",{role:"gridcell",id:r,
"data-testid":`${s}-cell`});this.rowLabels=t("canvas",{class:"mn-rows","aria-hidden":"true"});this.base=t("canvas",{
"aria-hidden":"true"});this.overlay=t("canvas",{class:"mn-overlay","aria-hidden":"true"});this.stack=t("div",{class:
"mn-stack"},this.base,this.overlay);this.scroller=t("div",{class:"mn-scroll"},this.stack);this.tip=t("div",{class:
"mn-tip","aria-hidden":"true","data-testid":`${s}-tip`,hidden:true});this.cellRow=t("div",{class:"mn-hidden",role:
"row"},this.cell);this.element=t("div",{class:"mn-map",role:"grid",tabindex:"0","aria-label":e,
"aria-activedescendant":r,"aria-readonly":"true","data-testid":s,onkeydown:t=>this.keydown(t),onfocus:()=>this.
showFocus(),onblur:()=>{this.hideTip();this.drawOverlay()}},this.cellRow,this.rowLabels,this.scroller,this.tip);this.
stack.addEventListener("mousemove",t=>this.mousemove(t));this.stack.addEventListener("mouseleave",()=>{this.hovered=
null;this.hideTip();this.drawOverlay();this.onHover(null)});this.stack.addEventListener("click",t=>{const e=this.at(
t);if(e){this.focus=e;this.element.focus({preventScroll:true});this.hideTip();this.choose()}})}update(t,e){const s=
this.grid;this.grid=t;this.width=e;if(!s||s.rows!==t.rows||s.columns!==t.columns){this.focus=t.start??{row:t.flip?t.
rows-1:0,column:0};this.hovered=null;this.selected=null;this.cone=null}this.focus={row:Math.min(this.focus.row,t.rows-
1),column:Math.min(this.focus.column,t.columns-1)};this.element.setAttribute("aria-rowcount",t.rows);this.element.
setAttribute("aria-colcount",t.columns);this.draw()}layout(){const{rows:t,columns:e,rowLabels:s,columnLabels:n}=this.
grid,i=this.base.getContext("2d");i.font=`${dt.label}px ${this.theme.mono}`;const o=t=>Math.max(0,...t.slice(0,2e3).
map(t=>i.measureText(t).width));this.left=Math.ceil(o(s))+(this.grid.rowTitle?26:10);const a=Math.max(60,this.width-
this.left-4);const r=e*t>2e4;this.cw=this.grid.cellWidth??Math.max(r?1:dt.minWidth,Math.min(dt.maxWidth,Math.floor(
a/e)));if(!this.grid.cellWidth&&e<=400)this.cw=Math.max(this.cw,Math.min(12,dt.maxWidth));this.cw=Math.max(1,Math.min(
this.cw,Math.floor(12e3/e)));const l=this.grid.height??430;this.ch=this.grid.cellHeight??Math.max(r?1:dt.minHeight,
Math.min(dt.maxHeight,Math.floor(l/t)));this.ch=Math.max(1,Math.min(this.ch,Math.floor(12e3/t)));const c=n.map(t=>x(t.
text,20)),d=o(c);this.turned=d+6>this.cw;this.every=this.turned?Math.max(1,Math.ceil((dt.label+2)/this.cw)):1;this.
rowEvery=Math.max(1,Math.ceil((dt.label+2)/this.ch));this.plotWidth=this.cw*e;this.plotHeight=this.ch*t;this.lean=
this.turned?Math.ceil(d*.5)+8:0;this.bottom=(this.turned?Math.ceil(d*.87)+14:20)+(this.grid.columnTitle?16:0);this.
turnedTexts=c}size(t,e,s){const n=Math.min(window.devicePixelRatio||1,e*s>4e6?1:3);t.width=Math.max(1,Math.round(
e*n));t.height=Math.max(1,Math.round(s*n));t.style.width=`${e}px`;t.style.height=`${s}px`;const i=t.getContext("2d");
i.setTransform(n,0,0,n,0,0);i.clearRect(0,0,e,s);return i}y(t){return(this.grid.flip?this.grid.rows-1-t:t)*this.
ch}draw(){if(!this.grid||!this.element.isConnected)return;this.theme=b(this.element);this.layout();const{rows:t,
columns:e,columnLabels:s,rowLabels:n}=this.grid,{theme:i}=this;const o=this.size(this.base,this.plotWidth+this.lean,
this.plotHeight+this.bottom);this.size(this.overlay,this.plotWidth,this.plotHeight);if(this.grid.image){o.
imageSmoothingEnabled=false;o.drawImage(this.grid.image(i),0,0,this.plotWidth,this.plotHeight)}else this.drawCells(o);
o.strokeStyle=i.muted;o.globalAlpha=.5;o.lineWidth=1;o.strokeRect(.5,.5,this.plotWidth-1,this.plotHeight-1);o.
globalAlpha=1;o.textBaseline="middle";for(let t=0;t<e;t+=this.every){const{strong:e}=s[t],n=(t+.5)*this.cw;o.font=
`${e?"bold ":""}${dt.label}px ${i.mono}`;o.fillStyle=e?i.accent:i.text;o.save();if(this.turned){o.translate(n-2,this.
plotHeight+6);o.rotate(Math.PI/3);o.textAlign="left"}else{o.translate(n,this.plotHeight+10);o.textAlign="center"}o.
fillText(this.turnedTexts[t],0,0);o.restore()}o.fillStyle=i.muted;o.font=`${dt.label}px ${i.font}`;if(this.grid.
columnTitle){o.textAlign="left";o.fillText(this.grid.columnTitle,0,this.plotHeight+this.bottom-8)}const a=this.size(
this.rowLabels,this.left,this.plotHeight+this.bottom);a.textAlign="right";a.textBaseline="middle";a.fillStyle=i.text;
a.font=`${dt.label}px ${i.mono}`;for(let e=0;e<t;e+=this.rowEvery)a.fillText(n[e],this.left-5,this.y(e)+this.ch/2);if(
this.grid.rowTitle){a.save();a.translate(8,this.plotHeight/2);a.rotate(-Math.PI/2);a.textAlign="center";a.fillStyle=i.
muted;a.font=`${dt.label}px ${i.font}`;a.fillText(this.grid.rowTitle,0,0);a.restore()}this.drawOverlay();this.
announce()}drawCells(e){const{rows:s,columns:n,colour:i}=this.grid,o=t("canvas",{width:n,height:s}),a=o.getContext(
"2d");const r=a.createImageData(n,s),l=[];for(let t=0;t<s;t++)for(let e=0;e<n;e++){const o=i(t,e,this.theme),a=4*((
this.grid.flip?s-1-t:t)*n+e),[c,d,h]=o??this.theme.missing;if(!o&&l.length<2e4)l.push([t,e]);r.data[a]=c;r.data[a+1]=
d;r.data[a+2]=h;r.data[a+3]=255}a.putImageData(r,0,0);e.imageSmoothingEnabled=false;e.drawImage(o,0,0,this.plotWidth,
this.plotHeight);if(this.cw<5||this.ch<5)return;e.strokeStyle=this.theme.background;e.globalAlpha=.55;e.lineWidth=1.5;
e.beginPath();for(const[t,s]of l){const n=s*this.cw,i=this.y(t);e.moveTo(n,i+this.ch);e.lineTo(n+this.cw,i)}e.stroke(
);e.globalAlpha=1}drawOverlay(){if(!this.grid||!this.cw)return;const t=this.overlay.getContext("2d"),{cw:e,ch:s,theme:
n}=this;t.clearRect(0,0,this.plotWidth,this.plotHeight);if(this.cone)ct(this,t);const i=(i,o,a,r=[])=>{if(!i)return;
const l=i.column*e,c=this.y(i.row);t.setLineDash(r);for(const[i,r]of[[n.background,2],[o,0]]){t.strokeStyle=i;t.
lineWidth=a+r;t.strokeRect(l+1,c+1,Math.max(e-2,1),Math.max(s-2,1))}t.setLineDash([])};for(const i of this.marks){
const o=i.column*e+e/2,a=this.y(i.row)+s/2,r=Math.max(2,Math.min(4,e/4,s/4));t.beginPath();t.arc(o,a,r,0,7);t.
fillStyle=n.background;t.fill();t.lineWidth=1.5;t.strokeStyle=n.text;t.stroke()}i(this.hovered,n.text,1);i(this.
linked,n.text,1,[3,2]);if(document.activeElement===this.element)i(this.focus,n.accent,2,[4,2]);i(this.selected,n.text,
2.5)}at(t){if(!this.grid)return null;const e=this.overlay.getBoundingClientRect(),s=Math.floor((t.clientX-e.
left)/this.cw),n=Math.floor((t.clientY-e.top)/this.ch);if(s<0||s>=this.grid.columns||n<0||n>=this.grid.
rows)return null;return{row:this.grid.flip?this.grid.rows-1-n:n,column:s}}mousemove(t){const e=this.at(t);if(e&&this.
hovered&&e.row===this.hovered.row&&e.column===this.hovered.column)return;this.hovered=e;this.drawOverlay();this.
onHover(e);if(e)this.showTip(e);else this.hideTip()}showTip(e){if(!this.grid.tip)return;const s=this.grid.tip(e.row,e.
column);this.tip.replaceChildren(...s.map(([e,s])=>t("div",{},e?t("span",{class:"mn-tip-label",text:`${e} `}):null,t(
"span",{text:s}))));this.tip.hidden=false;const n=this.element.getBoundingClientRect(),i=this.overlay.
getBoundingClientRect();const o=i.left-n.left+(e.column+1)*this.cw+8,a=i.top-n.top+this.y(e.row)+this.ch+6;const r=o+
this.tip.offsetWidth>n.width?o-this.cw-this.tip.offsetWidth-16:o;const l=a+this.tip.offsetHeight>n.height?a-this.ch-
this.tip.offsetHeight-12:a;this.tip.style.left=`${Math.max(0,r)}px`;this.tip.style.top=`${Math.max(0,l)}px`}hideTip(){
this.tip.hidden=true}showFocus(){this.drawOverlay();this.announce()}announce(){const{row:t,column:e}=this.focus;this.
cellRow.setAttribute("aria-rowindex",(this.grid.flip?this.grid.rows-1-t:t)+1);this.cell.setAttribute("aria-colindex",
e+1);this.cell.setAttribute("aria-selected",String(!!this.selected&&this.selected.row===t&&this.selected.column===e));
const s=this.name(t,e);this.cell.setAttribute("aria-label",s)}choose(){this.selected={...this.focus};this.onSelect(
this.selected);this.drawOverlay();this.announce()}keydown(t){if(!this.grid||t.ctrlKey||t.altKey||t.metaKey)return;
const e=this.grid.flip?1:-1,{rows:s,columns:n}=this.grid,i={...this.focus};const o={ArrowUp:[e,0],ArrowDown:[-e,0],
ArrowLeft:[0,-1],ArrowRight:[0,1],PageUp:[5*e,0],PageDown:[-5*e,0],Home:[0,-n],End:[0,n]};if(t.key in o){i.row+=o[t.
key][0];i.column+=o[t.key][1]}else if(t.key==="Enter"||t.key===" "){this.choose()}else if(t.key==="Escape"){this.
hideTip();return}else{if(this.onKey(t.key,this.focus)){t.preventDefault();t.stopPropagation()}return}t.preventDefault(
);t.stopPropagation();this.focus={row:Math.min(s-1,Math.max(0,i.row)),column:Math.min(n-1,Math.max(0,i.column))};this.
reveal();this.drawOverlay();this.announce();this.onHover(this.focus);this.showTip(this.focus)}reveal(){const t=this.
focus.column*this.cw,e=this.scroller;if(t<e.scrollLeft)e.scrollLeft=t-20;else if(t+this.cw>e.scrollLeft+e.
clientWidth)e.scrollLeft=t+this.cw-e.clientWidth+20;const s=this.y(this.focus.row);if(s<e.scrollTop)e.scrollTop=s;
else if(s+this.ch>e.scrollTop+e.clientHeight&&e.scrollHeight>e.clientHeight)e.scrollTop=s+this.ch-e.
clientHeight}}const ut=({model:s,root:n,asked:i})=>{let o=null;const a=t("p",{class:"mn-note"}),l=t("p",{class:
"mn-note mn-readout","data-testid":"map-read",role:"status"}),c=new lt("map-bar");const d=(t,e)=>{const n=t*o.steps+e,
a=i.current(s.get("edit").key)?s.get("edit").layers?.[t]:null;return[["layer",o.short[t]],["step",`${e+1} of ${o.
steps}${e<s.get("first")?", united":""}`],[`${i.placeOf(o.place).unit} beyond z = 3`,T(o.share[n])],["largest |z|",A(
o.largest[n])],...$(a)?[]:[["the edit takes",`${T(a)} of the layer`]]]};const h=new ht({label:
"Layer-by-step map: how far layers tell the two sets apart; arrow keys read its cells",testid:"map",name:(t,e)=>d(t,
e).map(t=>t.join(" ")).join(", "),hover:t=>{if(t)e(l,`${o.layers[t.row]}: ${d(t.row,t.column).slice(1).map(t=>t.join(
" ")).join(", ")}.`)}});const u=r({label:"Layer-by-step map",title:"Where and when the two sets differ",beside:[c.
element],"data-testid":"scores"},a,h.element,l);const m=()=>{const t=s.get("scores");u.hidden=!t.layers||t.
memorised!==s.get("memorised");if(u.hidden){o=null;return}o={...t,share:O(t.share),largest:O(t.largest)};if(!n.
isConnected)return;const r=i.placeOf(t.place),m=Math.max(0,...o.share)||.01,p=t.reference!==s.get("reference")||t.
place!==s.get("place")||!tt(t.chosen,s.get("chosen"));e(a,`${t.sets[0]} memorised against ${t.sets[
1]} reference captions in the ${r.layers}`+`${p?" (of an earlier choice)":""}: share of a layer’s ${r.
unit} whose mean energy differs `+
`by more than 3 standard errors; about 0.3 % by chance, more with few captions. Layers by block `+`and attention`+(r.
alike?", k: keys, v: values. All of them read the caption’s words, which no layer and no step changes: "+
`there is one value instead of a map, ${T(o.share[0])}.`:
", in the order in which they run; steps in bold are united in the mask."));c.element.hidden=h.element.hidden=l.
hidden=r.alike;if(r.alike)return;c.update({ramp:b(n).single,low:"0 %",middle:T(m/2),high:T(m),title:`${r.
unit} beyond z = 3`});const f=Math.max(240,(u.clientWidth||900)-20);h.update({rows:o.layers.length,columns:o.steps,
rowLabels:o.short,columnLabels:Array.from({length:o.steps},(t,e)=>({text:String(e+1),strong:e<s.get("first")})),
rowTitle:"layer",columnTitle:"denoising step",cellHeight:22,cellWidth:Math.max(12,Math.min(120,Math.floor((f-120)/o.
steps))),colour:(t,e,s)=>s.single(o.share[t*o.steps+e]/m),tip:d},f)};const p=()=>[["layer","step","share_beyond_3",
"largest_z"],...o.layers.flatMap((t,e)=>Array.from({length:o.steps},(s,n)=>[t,n+1,o.share[e*o.steps+n],o.largest[e*o.
steps+n]]))].map(k).join("");return{element:u,draw:m,csv:p,there:()=>!!o}};const mt=(t,e)=>J.slice(1).flatMap(([s,
n])=>{const i=t[s];if(!e(s))return[];return[...i.groups.map(t=>[n,i.groups.length>1?t.name:"",t]),...i.never?[[n,i.
never.name,i.never]]:[]]});const pt=(e,s,{info:n,letter:i})=>{const o=mt(e,s);if(!n.measure||!o.length)return[];
const a=n.seeds.length>1?"All seeds together.":`One seed of starting noise, ${n.seeds[0]}.`;return[Y("table",["",
"pictures that are copies",`mean ${i}`],o.map(([t,e,s])=>[e?`${t}, ${e}`:t,s.copies===undefined?"–":[`${s.
copies} of ${s.pictures}`,S(s.low,s.high,T)],A(s.mean)])),t("p",{class:"mn-note",text:`${A(100*n.
level)} % intervals over captions (Clopper–Pearson, or bootstrap where a `+
`caption has several seeds that disagree). ${a} Control: one draw.`})]};const ft=(t,e,{info:s,captions:n,chosen:i})=>{
const o=[["caption","located_on","state","seed","step","measure","value","copy"]],a=s.frames.length-1;for(
const r of Q.filter(e))n.forEach((e,n)=>{s.seeds.forEach((l,c)=>{s.frames.forEach((d,h)=>{const u=t[r].value(h,n,c),m=
t[r].copy(h,n,c);if(h===a||!$(u))o.push([e,String(i.has(n)),r,l,d,s.measure,u??NaN,m===null?"":String(m)])})})});
return o.map(k).join("")};const gt=3e3,wt=90;const bt=({model:s,send:n,choose:i,redraw:o,whole:r})=>{const l=s.get(
"model_info"),c=l.frames.length;let d=0;const h=t("input",{type:"range",min:0,max:c-1,step:1,"data-testid":"step",
"aria-label":"Denoising step shown"}),u=t("output",{"data-testid":"step-now"});h.oninput=()=>{const t=Math.max(0,Math.
min(c-1,Number(h.value)));s.set("step",t);n("move",{fields:{step:t}});o()};const m=()=>{clearInterval(d);d=0;e(f,
"Play")};const p=t=>{s.set("step",t);o()};const f=P("play","Play",()=>{if(d){m();return}let t=0;e(f,"Pause");p(0);d=
setInterval(()=>{t+=1;p(Math.min(t,c-1));if(t>=c-1)m()},Math.max(wt,gt/c))});f.title="Go through the denoising steps";
const g=l.seeds.length>1?i("seed",l.seeds.map((t,e)=>[e,`seed ${t}`])):null;const w=t("div",{class:"mn-moves"},K(
"Denoising step shown ",u,h),f,g?a("Starting noise",g):null);const b=()=>{const t=Math.min(s.get("step"),c-1),n=`${l.
frames[t]} of ${l.steps}`;h.value=t;e(u,t<c-1?n:r()?`${n}, the finished picture`:"the latest there is");h.
setAttribute("aria-valuetext",u.textContent)};return{element:w,draw:b,stop:m}};function yt({model:s,el:i}){const o=I(
s,{title:"Diffusion bench",testid:"diffusion-bench",name:"Diffusion bench",kind:"mn-memory mn-diffusion",label:
"Locate and draw",help:"Draw the captions, find the weights, draw again; what is there is not made again",stop:
"Stop before the next denoising step; what is whole stays, and the weights are restored",unit:"Steps of this stage",
start:()=>{v();c("run",{fields:$()})}});const{send:c,listen:d,root:h,row:u,error:m}=o;const p=s.get("model_info"),f=s.
get("names"),g=p.measure==="normalised distance"?"d":"r";const w=t=>{for(const[e,n]of Object.entries(t))s.set(e,n);c(
"move",{fields:t});lt()};const{bound:b,shown:y,flush:v,choose:k}=H(s,d,w);const $=()=>({...y(),chosen:s.get("chosen"),
sparsity:s.get("sparsity"),step:s.get("step")});const M=()=>["running","stopping"].includes(s.get("status"));const A=
p.side<=64,T=A?Math.max(64,p.side):112;const S=t=>p.places[t]??Object.values(p.places)[0],E=()=>S(s.get("place"));
const C=k("place",s.get("places"));C.title=
"The layers of the U-Net that are watched and cut; statistics are run once for each choice";const O=t=>k(t,f[t].map(([
t,e])=>[t,x(L(e),60)]));const N=D(s,m,{title:"These sets overlap: nothing is run with them",names:["memorised",
"reference"]});const W=t("div",{},t("div",{class:"mn-controls"},a("Memorised captions",O("memorised")),a(
"Reference captions",O("reference")),a("Layers to cut",C),a("Method",k("method",s.get("methods")))),t("div",{class:
"mn-controls"},u),N.element,m);const R=t=>!!t&&Z.every(e=>tt(t[e],s.get(e)));const U={busy:M,current:R,placeOf:S,
placeNow:E,fields:$};const _=B({model:s,send:c,push:w,bound:b,steps:p.steps,asked:U});const F=l("No pictures yet",
"“Locate and draw” draws the captions below with the model’s own weights, finds the weights that "+
"tell them from the reference, sets those to 0, and draws again, beside as many random weights. "+
"You watch each denoising step. The weights are restored after every drawing.");const K=t("p",{class:"mn-note",
"data-testid":"limit"}),V=t("p",{class:"mn-note",text:p.measure?`${g}: ${p.about}.`:
"No training pictures were given: no copy measure."});const q=rt({model:s,info:p,asked:U,push:w,side:T,sharp:A,letter:
g}),G=bt({model:s,send:c,choose:k,redraw:()=>lt(),whole:()=>Q.every(t=>q.states()[t]?.ready!==false)});o.undo.push(G.
stop);const X=t("div",{"data-testid":"numbers"});const Y=P("attack","Attack this edit",()=>{v();c("attack",{fields:$(
)})});const J=t("p",{class:"mn-note",text:
"An attack looks for a text embedding that makes the edited model denoise towards the training "+
"picture. With enough updates that draws any picture: read it beside the never-trained pictures "+
"attacked with the same budget. Moving a slider stops it."});const et=r({label:"Attack on the edit",title:
"Attack on the edit"},J,t("div",{class:"mn-controls"},a("Updates",b("updates",t("input",{type:"number",min:1,max:1e4,
step:10}))),a("starting from",k("start",s.get("starts"))),Y));const st=t("p",{class:"mn-note","data-testid":"help",
text:"The mask is located on the captions that are ticked; the others show what it does to pictures it "+
"was not made from. Keys: arrows, Home and End move through the pictures and the map and read them "+
"out; Space ticks a caption on or off; Ctrl+Enter draws."});const nt=r({label:"Pictures",title:"Pictures"},F,K,V,G.
element,q.element,q.readout,st,X);const it=ut({model:s,root:h,asked:U});const ot=t=>{const e=q.mine(t);
return!!e?.ready&&(t==="before"||R(e.key))};const lt=()=>{if(!q.captions().length)return;const t=q.mine("before");G.
draw();F.hidden=!!t;for(const e of[G.element,K,V,et,st,q.readout])e.hidden=!t;X.hidden=!t?.ready;h.setAttribute(
"data-pictures",t?.ready?"true":"false");q.draw();e(K,s.get("limit").text??"");const{after:n}=q.states();Y.disabled=M(
)||!n?.ready||!R(n.key)||!q.pictured();X.replaceChildren(...pt(q.states(),ot,{info:p,letter:g}));_.draw();_.drawForce(
)};const ct=()=>{q.read();lt()};const dt=()=>(`diffusion_${s.get("memorised")}_${s.get("place")}_${s.get("method")}_`+
`${s.get("sparsity")}_${s.get("first")}`).replace(/[^\w.-]+/g,"_");const ht=z(s,(t,e)=>c(t,{...e,fields:$()}),{stem:
dt,figure:()=>at(q.captions(),q.rows(),{box:A?80:T,letters:p.measure?34:10,sharp:A}),table:()=>ft(q.states(),ot,{info:
p,captions:q.captions(),chosen:new Set(s.get("chosen"))}),example:"measures.zarr, measures.csv, mask.npz",labels:{csv:
"Measures (CSV)",svg:"Picture grid (SVG)",png:"Picture grid (PNG)",save:
"Save on the kernel’s machine: the measures (.zarr, .nc, .csv, .parquet) or the mask shown (.npz)"},after:[P(
"map-csv","Map (CSV)",()=>{if(it.there())n(`${dt()}_map.csv`,"text/csv",it.csv())}),P("npz","Mask shown (npz)",()=>c(
"document",{kind:"npz",fields:$()}))]});j(s,d,dt);const mt=()=>{e(o.line,E().text);_.element.hidden=!s.get("edit").
weights&&!q.states().before;ht.files.hidden=!q.states().before;N.draw();it.draw()};const gt=()=>{lt();mt()};d([
"prompts"],()=>{q.build();ct()});d(Q,()=>{ct();mt()});d([...Z,"step","seed","limit","edit"],()=>{lt();mt()});d([
"scores"],it.draw);d(["doubts"],N.draw);d(["force"],_.drawForce);d(["status","progress","error"],()=>{N.draw();lt()});
const wt=o.open(i,{parts:[W,_.element,nt,et,it.element],drawer:ht,box:nt,draw:gt});q.build();q.read();gt();
return wt}var vt={render:yt};export{vt as default};
