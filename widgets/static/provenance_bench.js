// Built by npm run build from 12 files, sha256 e3392d67a4c7ab2fb04e5ac59df76f22b9e016650bd1953532579b2eabf380e1
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
text:n});const r=(e,n,s)=>t("label",{class:"mn-field"},t("span",{class:"mn-label",text:e}),n,null);const i=(e,n,s={
"data-testid":"empty"})=>t("div",{class:"mn-empty",...s},t("strong",{text:e}),t("p",{text:n}));const l=(t,e)=>{t.
append(e);e.addEventListener("pointerdown",t=>{const e=t.button===0&&t.target.closest("button");if(!e||e.
disabled)return;const n=s=>{if(s.pointerId!==t.pointerId)return;document.removeEventListener("pointerup",n,true);
document.removeEventListener("pointercancel",n,true);const a=Math.hypot(s.clientX-t.clientX,s.clientY-t.clientY)<6;if(
s.type==="pointerup"&&a&&!e.contains(s.target)&&e.isConnected)e.click()};document.addEventListener("pointerup",n,
true);document.addEventListener("pointercancel",n,true)})};const c=e=>{if(!e||!/^[\w-]+$/.test(e))return()=>{};
const n=t("style",{text:`.jp-OutputArea-child:has(.mnemoscope-static-${e}), .mnemoscope-static-${e} { display: none `+
`!important; }`});document.head.append(n);return()=>n.remove()};const d=t=>{if(t==="")return"∅";return t.replace(/ /g,
"·").replace(/\r?\n/g,"⏎").replace(/\t/g,"⇥").replace(
/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,t=>`‹${t.codePointAt(0).toString(16).
padStart(4,"0")}›`)};const u=(t,e)=>[...t].length>e?[...t].slice(0,e-1).join("")+"…":t;const p=t=>{if(t===null||t===
undefined||Number.isNaN(t))return"no value";if(!Number.isFinite(t))return t>0?"∞":"−∞";const e=Math.abs(t);const n=
e===0?"0":e>=1e5||e<1e-4?e.toExponential(2):e>=100?e.toFixed(1):e>=1?e.toFixed(2):e.toFixed(3);return(t<0&&Number(
n)!==0?"−":"")+n};const h=t=>t.map(t=>typeof t==="string"?`"${t.replace(/"/g,'""')}"`:Number.isNaN(t)?"":String(t)).
join(",")+"\r\n";const m=t=>t===null||t===undefined||Number.isNaN(t);const f=(t,e)=>`${t.toLocaleString(
"en")} ${e}${t===1?"":"s"}`;const g=t=>d(t).replace(/·/g," ");const w=(t,e={},...n)=>{const s=document.
createElementNS("http://www.w3.org/2000/svg",t);for(const[t,n]of Object.entries(e))if(!m(n))s.setAttribute(t,n);s.
append(...n);return s};const b=t=>`fill:${t.text};stroke:${t.page};stroke-width:3px;paint-order:stroke`;const x=t=>({
text:(new XMLSerializer).serializeToString(t),width:Number(t.getAttribute("width")),height:Number(t.getAttribute(
"height"))});const v=(t,e,n)=>{const s=(e-t)/Math.max(1,n)||1,a=10**Math.floor(Math.log10(s)),o=a*([1,2,5].find(t=>
t*a>=s*.999)??10),r=[];for(let n=Math.ceil(t/o-1e-9);n*o<=e+1e-9*o;n++)r.push(Number((n*o).toPrecision(12))||0);
return r};const y=(...e)=>t("thead",{},t("tr",{},...e.map(e=>t("th",{scope:"col",text:e}))));const $=t=>[1,3,5].map(
e=>parseInt(t.slice(e,e+2),16));const k=([t,e,n])=>(.2126*t+.7152*e+.0722*n)/255;const _=t=>{const e=t.map($),n=e.
length-1;return t=>{const s=Math.min(1,Math.max(0,t))*n,a=Math.min(n-1,Math.floor(s)),o=s-a;return e[a].map((t,n)=>t+
o*(e[a+1][n]-t))}};const M={light:{diverging:_(["#0a3a75","#2f7fc1","#a6cdec","#f9f9f7","#fbc98f","#dd7f1d",
"#853703"]),single:_(["#f9f9f7","#b9d8ee","#5a9fd4","#1f62a6","#08264f"]),missing:[214,214,214],ink:"#1c1c1c"},dark:{
diverging:_(["#a9d6ff","#4a9be0","#22507d","#202328","#7a4515","#dd8430","#ffd0a0"]),single:_(["#202328","#1d4a73",
"#2f7fc1","#7cbcf0","#e6f4ff"]),missing:[78,82,88],ink:"#f2f2f2"}};const q=e=>{const n=getComputedStyle(e.closest(
".mnemoscope")??e);const s=(t,e)=>n.getPropertyValue(t).trim()||e;const a=t("canvas",{width:1,height:1}).getContext(
"2d",{willReadFrequently:true});a.fillStyle="#ffffff";a.fillStyle=n.backgroundColor;a.fillRect(0,0,1,1);const o=[...a.
getImageData(0,0,1,1).data].slice(0,3),r=k(o)<.4;const i=r?M.dark:M.light;return{dark:r,...i,page:o,text:n.color,
muted:s("--mn-muted","#666"),accent:s("--mn-accent","#0b6bcb"),background:n.backgroundColor,font:s("--mn-font",
"system-ui, sans-serif"),mono:s("--mn-mono","monospace")}};const S=t=>{const e=new MutationObserver(()=>
requestAnimationFrame(t));for(const t of[document.documentElement,document.body])e.observe(t,{attributes:true,
attributeFilter:["class","style","data-jp-theme-name","data-jp-theme-light","data-vscode-theme-kind"]});const n=
matchMedia("(prefers-color-scheme: dark)");n.addEventListener("change",t);return()=>{e.disconnect();n.
removeEventListener("change",t)}};const N=(e,n=3)=>new Promise((s,a)=>{const o=new Image;o.onload=()=>{const a=t(
"canvas",{width:e.width*n,height:e.height*n});const r=a.getContext("2d");r.scale(n,n);r.drawImage(o,0,0);a.toBlob(s,
"image/png")};o.onerror=()=>a(new Error("the browser could not draw the figure"));o.src=
"data:image/svg+xml;charset=utf-8,"+encodeURIComponent(e.text)});const C=t=>{const e=t.reduce((t,e)=>t+e.width,0),n=
Math.max(...t.map(t=>t.height));let s=0;const a=t.map(t=>{const e=s;s+=t.width;return t.text.replace("<svg ",
`<svg x="${e}" `)}).join("");return{text:
`<svg xmlns="http://www.w3.org/2000/svg" width="${e}" height="${n}" viewBox="0 0 ${e} `+
`${n}"><rect width="100%" height="100%" fill="#ffffff"/>${a}</svg>`,width:e,height:n}};const E=t=>{if(
!t)return new Float32Array(0);const e=t instanceof ArrayBuffer?new DataView(t):t;const n=e.byteOffset%4?e.buffer.
slice(e.byteOffset,e.byteOffset+e.byteLength):e.buffer;return new Float32Array(n,e.byteOffset%4?0:e.byteOffset,Math.
floor(e.byteLength/4))};const L=t=>new Uint8Array(t.buffer??t,t.byteOffset??0,t.byteLength);const T=t=>{const e=[];
return{undo:e,send:(e,n={})=>t.send({type:e,...n}),listen:(n,s)=>{for(const a of n){t.on(`change:${a}`,s);e.push(()=>
t.off(`change:${a}`,s))}},set:e=>{for(const[n,s]of Object.entries(e))t.set(n,s);t.save_changes()}}};const A=(e,n,s)=>{
const a={},r={range:true,number:true};const i=(t,n)=>{const s=typeof e.get(t);return s==="boolean"?n.checked:s!==
"number"?n.value:n.value===""?NaN:Number(n.value)};const l=(t,e)=>{if(t.type==="checkbox")t.checked=e;else t.value=e};
const c=(t,o)=>{a[t]=o;o.setAttribute("data-testid",t);let c,d,u=0;const p=()=>{clearTimeout(d);const n=u-Date.now();
if(n>0){d=setTimeout(p,n);return}if(i(t,o)!==e.get(t)){l(o,e.get(t));o.dispatchEvent(new Event("pulled"))}};p();n([t],
p);const h=()=>{clearTimeout(c);const n=i(t,o);if(!Number.isNaN(n)&&n!==e.get(t))s({[t]:n})};o.addEventListener(
"change",h);if(o.tagName!=="SELECT"&&o.type!=="checkbox")o.addEventListener("input",()=>{clearTimeout(c);if(r[o.
type]){u=Date.now()+700;h()}else c=setTimeout(h,350)});o.flush=h;return o};return{inputs:a,bound:c,shown:()=>Object.
fromEntries(Object.entries(a).map(([t,e])=>[t,i(t,e)]).filter(([,t])=>!Number.isNaN(t))),flush:()=>{for(
const t of Object.values(a))t.flush()},area:(e,n={})=>c(e,t("textarea",{rows:2,spellcheck:"false",autocapitalize:
"off",...n})),line:(e,n)=>c(e,t("input",{type:"text",spellcheck:"false",autocomplete:"off",placeholder:n})),choose:(e,
n)=>c(e,t("select",{},...n.map(([t,e])=>o(t,e))))}};const j=(e,n,s,a="")=>t("button",{type:"button",class:
`mn-button ${a}`,"data-testid":e,text:n,onclick:s});const O=(t,e,n)=>{let a=t.get("document").number??0;e([
"document"],()=>{const{number:e,kind:o,type:r,data:i}=t.get("document");if(!e||e===a)return;a=e;s(`${n()}.${o}`,r,L(
i))})};const R={svg:"Figure (SVG)",png:"Figure (PNG)",csv:"Data (CSV)",save:
"Save the labelled data on the kernel’s machine as"};const Y=(n,o,{stem:i,figure:l,table:c,example:d,labels:u={},
before:p=[],after:h=[]})=>{const m={...R,...u};const f=t("textarea",{class:"mn-code",readonly:true,rows:12,spellcheck:
"false","aria-label":"Python that reproduces this view","data-testid":"code"});const g=t("input",{type:"text",
"data-testid":"path",placeholder:d,spellcheck:"false"});const w=t("div",{class:"mn-note","data-testid":"saved",role:
"status"}),b=t("input",{type:"checkbox","data-testid":"overwrite"});const x=()=>o("save",{path:g.value,overwrite:b.
checked});g.onkeydown=t=>{if(t.key==="Enter")x()};const v=async t=>{const n=t.currentTarget;await a(f.value,f);e(n,
"Copied");setTimeout(()=>e(n,"Copy"),1500)};const y=t("div",{},t("div",{class:"mn-buttons"},...p,j("svg",m.svg,()=>s(
`${i()}.svg`,"image/svg+xml",l().text)),j("png",m.png,async()=>s(`${i()}.png`,"image/png",await N(l()))),j("csv",m.
csv,()=>s(`${i()}.csv`,"text/csv",c())),...h),t("div",{class:"mn-saverow"},r(m.save,g),j("save","Save",x),t("label",{
class:"mn-check"},b,"replace what is there")),w);const $=t("details",{class:"mn-more","data-testid":"export"},t(
"summary",{text:"Export and code"}),y,t("div",{class:"mn-side-head"},t("span",{class:"mn-label",text:
"Python that reproduces this view"}),j("copy","Copy",v,"mn-small")),f);const k=()=>{const t=n.get("saved");e(w,t.
text??"");w.classList.toggle("mn-bad",t.ok===false);f.value=n.get("code");f.rows=f.value.split("\n").length+1};return{
element:$,files:y,draw:k}};const z=(e,n,{title:s,names:a})=>{const o=t("div",{class:"mn-error",role:"alert",
"data-testid":"refused",hidden:true});const r=()=>{const r=e.get("doubts"),i=!!r.refused&&a.every(t=>r[t]===e.get(t));
o.hidden=!i;o.replaceChildren(...i?[t("strong",{text:s}),t("pre",{text:r.refused})]:[]);if(i&&e.get("error").text===r.
refused)n.hidden=true};return{element:o,draw:r}};const F=(e,{send:n,listen:s})=>{const a=t("select",{"data-testid":
"examples","aria-label":"Example shown",onchange:()=>n("example",{number:Number(a.value)})});const r=t("label",{class:
"mn-examples"},t("span",{class:"mn-note",text:"Example"}),a);const i=()=>{const{names:t=[],own:n=false,chosen:s=null}=
e.get("examples");r.hidden=t.length+n<1||t.length===1&&!n&&s===0;a.replaceChildren(...s===null?[o("","choose one …")]:
[],...t.map((t,e)=>o(String(e),t)),...n?[o("-1","your last input")]:[]);a.value=s===null?"":String(s)};s(["examples"],
i);i();return r};const P=(n,s,{send:a,listen:o},{start:r,label:i,help:l,stop:c,unit:d})=>{const u=t("button",{class:
"mn-button mn-primary",type:"button","data-testid":"run",text:i,title:`${l} (Ctrl+Enter)`,onclick:r});const p=t(
"button",{class:"mn-button",type:"button","data-testid":"stop",text:"Stop",title:c,onclick:()=>a("stop")});const h=t(
"div",{class:"mn-progress-fill"}),m=t("span",{class:"mn-note","data-testid":"progress",role:"status"});const f=t(
"div",{class:"mn-progress",role:"progressbar","aria-label":d,"aria-valuemin":0,"aria-valuemax":100},h);const g=t(
"div",{class:"mn-error",role:"alert","data-testid":"error",hidden:true});const w=()=>{const a=n.get("status"),o=n.get(
"progress"),r=o.total?Math.round(100*o.done/o.total):0,i=n.get("error");p.disabled=a!=="running";s.setAttribute(
"data-status",a);f.hidden=a!=="running"&&a!=="stopping";h.style.width=`${r}%`;f.setAttribute("aria-valuenow",r);e(m,o.
text??"");g.hidden=!i.text;g.replaceChildren(...i.text?[t("strong",{text:i.title}),t("pre",{text:i.text})]:[])};o([
"status","progress","error"],w);w();const b=t("div",{class:"mn-run"},u,p,t("div",{class:"mn-status"},f,m));return{run:
u,row:b,error:g}};const X=(e,{title:s,testid:a,name:o,kind:r,data:i,start:d,label:u="Run",help:p,stop:h,unit:m})=>{
const f=T(e);const g=t("span",{class:"mn-chip","data-testid":"model",text:i??e.get("model_info").text});const w=t(
"div",{class:`mnemoscope ${r}`,"data-testid":a,"data-lm-suppress-shortcuts":"true",role:"region","aria-label":o});
const{run:b,row:x,error:v}=P(e,w,f,{start:d,label:u,help:p,stop:h,unit:m});w.addEventListener("keydown",t=>{if(t.
key!=="Enter"||!(t.ctrlKey||t.metaKey))return;t.preventDefault();t.stopPropagation();b.click()});const y=(a,{parts:o,
drawer:r,box:i,draw:d})=>{const u=t("header",{class:"mn-header"},t("h2",{text:s}),t("div",{class:"mn-about"},F(e,f),
g));w.append(u,...o.filter(t=>t),r.element);l(a,w);const p=()=>{w.setAttribute("data-dark",q(w).dark);d()};f.listen([
"saved","code"],r.draw);f.undo.push(S(p),n(w,i,p),c(e.get("static_key")));r.draw();return()=>{for(const t of f.undo)t(
)}};return{...f,root:w,line:g,run:b,row:x,error:v,open:y}};const D={text:"var(--mn-text)",muted:"var(--mn-muted)",
line:"var(--mn-line)",accent:"var(--mn-accent)",mark:"var(--mn-mark)",page:"var(--mn-bg)"};const I={text:"#1c1c1c",
muted:"#555555",line:"#d0d0d0",accent:"#0b61b8",mark:"#b35900",page:"#ffffff"};const V=t=>Math.round(t).
toLocaleString("en");const B=t=>m(t)?"–":t<1e-300?"< 1e-300":t>=.001?String(Number(t.toPrecision(2))):t.toExponential(
1);const U=t=>{const e=Math.abs(t);return(e&&(e<.001||e>=1e6)?t.toExponential(1):String(Number(t.toPrecision(3)))).
replace("-","−")};const H=t=>Math.abs(t)<4?U(10**t):`${(10**(t-Math.floor(t))).toFixed(1)}e${t<0?"−":"+"}${Math.abs(
Math.floor(t))}`;const W=(t,{width:e,height:n,title:s,under:a,label:o,x:r,y:i,xTicks:l,yTicks:c,xTitle:d,yTitle:u,
grid:p=true})=>{const h=58,m=e-22,f=42,g=n-40,b=(e,n)=>w("text",{style:`fill:${t.muted}`,"font-size":10.5,...e},n);
const x=t=>h+(t-r[0])/(r[1]-r[0]||1)*(m-h),v=t=>g-(t-i[0])/(i[1]-i[0]||1)*(g-f);const y=w("svg",{xmlns:
"http://www.w3.org/2000/svg",viewBox:`0 0 ${e} ${n}`,width:e,height:n,role:"img","aria-label":o,"font-family":
"system-ui, DejaVu Sans, Arial, sans-serif","font-size":11},b({x:2,y:13,"font-size":12,"font-weight":600,style:
`fill:${t.text}`},s),b({x:2,y:27},a));for(const[e,n]of c){if(p)y.append(w("line",{x1:h,x2:m,y1:v(e),y2:v(e),style:
`stroke:${t.line}`,"stroke-width":.7}));y.append(b({x:h-6,y:v(e)+3.5,"text-anchor":"end"},n))}for(const[t,e,n]of l){y.
append(b({x:x(t),y:g+14,"text-anchor":"middle"},e));if(n)y.append(b({x:x(t),y:g+26,"text-anchor":"middle","font-size":
9.5},n))}y.append(w("line",{x1:h,x2:m,y1:g,y2:g,style:`stroke:${t.muted}`}),b({x:(h+m)/2,y:n-2,"text-anchor":
"middle"},d),b({transform:`translate(11 ${(f+g)/2}) rotate(-90)`,"text-anchor":"middle"},u));return{root:y,X:x,Y:v,
left:h,right:m,top:f,bottom:g,text:b}};const G=(t,e,n,s)=>{const a=Math.max(e.stop,...e.path_e),o=Math.min(0,...e.
path_e),r=Math.max(-8,Math.floor(Math.min(o,-.5)-.001)),i=a+.12*(a-r),l=Math.max(e.fields.rows-e.left_out,e.n,4);
const c=Math.max(1,...[1,2,3,5,10,20,50,100].filter(t=>(i-r)/t>=4)),d=[];for(let t=Math.ceil(r/c)*c;t<=i;t+=c)d.push([
t,t>=0&&t<4?V(10**t):t<0&&t>-3?String(10**t):`1e${t}`]);const u=`e = ${H(e.stop)}${e.fields.rule==="e"?": stop":
` (α = ${e.fields.alpha})`}`;const p=W(t,{width:n,height:s,title:"e-value by rows",under:e.e_under,label:
`e-value against rows, log axis: now ${H(e.log10_e)} after ${f(e.n,"row")}; `+`${e.fields.rule==="e"?"the rule stops":
"the level is reached"} at ${H(e.stop)}.`,x:[0,l],y:[r,i],xTicks:v(0,l,Math.max(2,n/90)).map(t=>[t,V(t)]),yTicks:d,
xTitle:"rows used",yTitle:"e-value, log scale"});p.root.append(w("line",{x1:p.left,x2:p.right,y1:p.Y(e.stop),y2:p.Y(e.
stop),style:`stroke:${t.mark}`,"stroke-width":1.6,"stroke-dasharray":"6 4"}),p.text({x:p.left+5,y:p.Y(e.stop)-5,style:
`fill:${t.text}`},u));if(!e.path_n.length)return p.root;const h=[...e.path_n].map((t,n)=>[p.X(t),p.Y(Math.max(r,e.
path_e[n]))]),m=h.at(-1),g=m[0]>p.right-80;p.root.append(w("path",{d:`M${h.map(t=>t.map(t=>t.toFixed(1)).join(" ")).
join("L")}`,style:`fill:none;stroke:${t.accent}`,"stroke-width":1.8,"stroke-linejoin":"round"}),w("circle",{cx:m[0],
cy:m[1],r:3.5,style:`fill:${t.accent}`}),p.text({x:m[0]+(g?-8:8),y:m[1]+(g?-7:4),"text-anchor":g?"end":"start",
"font-weight":600,style:b(t)},H(e.log10_e)));return p.root};const K=t=>!t.against||t.fields.statistic==="none"?
"NLL of the suspect":t.fields.statistic==="difference"?"NLL, suspect − reference":"residual NLL";const J=(t,e,n,s)=>{
const a=e.q_n.length,o=[...e.q_mean,...e.q_low,...e.q_high].filter(t=>!m(t)),r=Math.min(...o),i=Math.max(...o),l=.08*(
i-r)||.01,c=[r-l,i+l];const d=t=>e.q_at.length?` (position ${U(e.q_at[t])})`:"",u=[...e.q_n].map((t,e)=>e),p=Math.
ceil(42*a/n);const h=W(t,{width:n,height:s,title:"Mean score by position",under:`${e.unit}; ${U(100*e.
level)} % interval (approximate)`,label:`Mean ${K(e)} in ${a} groups of rows, earliest to latest: `+`${u.map(t=>U(e.
q_mean[t])).join(", ")} ${e.unit}.`,x:[-.6,a-.4],y:c,xTicks:u.filter(t=>t%p===0).map(t=>[t,e.q_at.length?U(Number(e.
q_at[t].toPrecision(2))):String(t+1),V(e.q_n[t])]),yTicks:v(c[0],c[1],4).map(t=>[t,U(t)]),xTitle:e.q_at.length?
`position in training (${e.kind}), earliest to latest`:"tenth of the rows by position, earliest to latest",yTitle:
`${K(e)}`});h.root.append(h.text({x:h.left-6,y:h.bottom+26,"text-anchor":"end","font-size":9.5},"rows"));if(!m(e.
mean))h.root.append(w("line",{x1:h.left,x2:h.right,y1:h.Y(e.mean),y2:h.Y(e.mean),style:`stroke:${t.muted}`,
"stroke-dasharray":"2 3"},w("title",{},`mean of all rows ${U(e.mean)}`)));for(const n of u){const s=h.X(n),o=w("g",{
style:`stroke:${t.accent};fill:${t.accent}`,"stroke-width":1.5},w("title",{},`${n+1} of ${a}${d(n)}: ${U(e.q_mean[
n])} [${U(e.q_low[n])}, ${U(e.q_high[n])}] `+`${e.unit}, ${f(e.q_n[n],"row")}`));if(!m(e.q_low[n]))o.append(w("path",{
d:`M${s} ${h.Y(e.q_low[n])}V${h.Y(e.q_high[n])}M${s-4} ${h.Y(e.q_low[n])}h8M${s-4} `+`${h.Y(e.q_high[n])}h8`}));o.
append(w("circle",{cx:s,cy:h.Y(e.q_mean[n]),r:4}));h.root.append(o)}return h.root};const Q=(t,e,n,s)=>{const a=e.
null_edges,o=Math.min(a[0],e.observed,0),r=Math.max(a.at(-1),e.observed,0),i=.06*(r-o),l=Math.max(...e.
null_counts)*1.16;const c=W(t,{width:n,height:s,title:"Null distribution",under:`${V(e.
draws)} random orders of the same rows`,label:`Histogram of the rank correlation under ${V(e.
draws)} random orders, from ${U(a[0])} `+`to ${U(a.at(-1))}; observed ${U(e.observed)}.`,x:[o-i,r+i],y:[0,l],xTicks:v(
o-i,r+i,Math.max(3,n/80)).map(t=>[t,U(t)]),yTicks:v(0,l,4).filter(t=>Number.isInteger(t)).map(t=>[t,V(t)]),xTitle:
"rank correlation rho of score and position",yTitle:"orders"});for(let n=0;n<e.null_counts.length;n++)if(e.
null_counts[n])c.root.append(w("rect",{x:c.X(a[n]),y:c.Y(e.null_counts[n]),width:Math.max(.6,c.X(a[n+1])-c.X(a[n])-
.4),height:c.bottom-c.Y(e.null_counts[n]),style:`fill:${t.accent};opacity:.55`}));const d=c.X(e.observed),u=d>(c.left+
c.right)/2;c.root.append(w("line",{x1:d,x2:d,y1:c.top-4,y2:c.bottom,style:`stroke:${t.mark}`,"stroke-width":2.4}),c.
text({x:d+(u?-6:6),y:c.top+6,"text-anchor":u?"end":"start","font-weight":600,style:b(t)},`observed ${U(e.
observed)}`));return c.root};const Z=t=>{if(!t?.fields)return null;const e={...t};for(const n of["path_n","path_e",
"q_n","q_mean","q_low","q_high","q_at","null_counts","null_edges"])e[n]=E(t[n]);return e};const tt=t=>{let e=
"part,position_middle,rows,mean,low,high\r\n";t.q_n.forEach((n,s)=>{e+=h([s+1,t.q_at[s]??NaN,n,t.q_mean[s],t.q_low[s],
t.q_high[s]])});return e};const et={guaranteed:"✓ guaranteed if",approximate:"≈ approximate",waiting:"… not yet",void:
"✕ not valid here",exact:"exact"};const nt=e=>t("span",{class:"mn-worth","data-worth":e,text:et[e]});const st=(e,n,s,
a)=>t("tr",{"data-worth":s,"data-row":e},t("th",{scope:"row",text:e}),t("td",{class:"mn-value"},t("span",{text:n})),t(
"td",{},nt(s),t("span",{class:"mn-why",text:a})));const at=e=>{const n=`${U(100*e.level)} %`,s=!m(e.rho);return t(
"table",{class:"mn-table mn-worths"},y("number","value","what it is worth"),t("tbody",{},st("rows used",V(e.n),
"exact",`of ${V(e.asked)} asked, ${V(e.fields.rows)} `+`${e.fields.rule==="e"?"at most":"planned"}`+`${e.left_out?
`; ${V(e.left_out)} without a finite score left out`:""}`+`${e.tokens?`; ${V(e.tokens)} tokens of the suspect`:""}`),
st("rho",s?`${U(e.rho)} [${U(e.low)}, ${U(e.high)}]`:"–","approximate",s?
`rank correlation of score and position; ${n} interval: ${e.interval}. `+`Negative: later rows are remembered better`:
"too few rows yet"),st("z",s?p(e.z):"–","exact","mean 0 and variance 1 under random orders; no p-value by itself"),st(
"e-value",H(e.log10_e),e.e_kind,`evidence against chance; ${e.e_worth}`),...(s?e.ps:[]).map(t=>st(t.label,B(t.p),t.
worth,`${t.note}${t.at_floor&&t.worth==="guaranteed"?"; the smallest it can be":""}`))))};const ot=e=>{const n=`${U(
100*e.level)} %`;return t("table",{class:"mn-table"},y("part","position","rows",`mean, ${e.unit}`,n),t("tbody",{},...[
...e.q_n].map((n,s)=>t("tr",{},t("th",{scope:"row",text:String(s+1)}),...[e.q_at.length?U(e.q_at[s]):"–",V(n),U(e.
q_mean[s]),m(e.q_low[s])?"–":`${U(e.q_low[s])} to ${U(e.q_high[s])}`].map(e=>t("td",{class:"mn-value",text:e}))))))};
const rt=(e,{level:n,busy:s,suspects:a,shown:o,show:r})=>{const i=new Set(e.map(t=>t.suspect)).size,l=a,c=t=>new Set(
e.map(e=>e[t])).size>1;const d=t=>`${t.rule==="e"?"stop by e":"fixed"}${c("statistic")?`, ${t.statistic}`:""}`+`${c(
"seed")?`, seed ${t.seed}`:""}${t.status==="stopped"?", stopped by hand":""}`;return[t("p",{class:"mn-note",
"data-testid":"looked",text:`${f(e.length,"question")} asked about ${i} of ${f(l,"suspect")}; Holm’s `+
`correction over ${e.length===1?"it":`all ${e.length}`}. The p of each line is `+
`guaranteed if the conditions beside its answer hold, also when it was stopped by hand: 1 / `+
`largest e, or for a fixed number of rows twice the smaller of that and the permutation p. A `+
`line whose p is only approximate counts as p = 1. A suspect not asked yet is not corrected for.`}),t("div",{class:
"mn-tablebox"},t("table",{class:"mn-table mn-lines"},y("suspect","reference",...c("transcript")?["transcript"]:[],
"rows","rho","e","p, guaranteed if","Holm",`at α = ${n}`),t("tbody",{},...e.map(e=>{const a=t("button",{type:"button",
class:"mn-plain",text:g(e.suspect),"aria-label":`Show the answer for ${e.suspect}, question ${e.number}`,disabled:e.
p===null||s,onclick:()=>r(e.number)});const i=e.p===null?[t("td",{class:"mn-wrap",colspan:6,text:
`could not be tested, counts as p = 1: ${e.note}`})]:[t("td",{class:"mn-value"},t("span",{text:`${V(e.n)} `}),t(
"span",{class:"mn-why",text:d(e)})),t("td",{class:"mn-value"},m(e.rho)?"–":U(e.rho),t("span",{class:"mn-why",text:m(e.
low)||m(e.rho)?"":`${U(e.low)} to ${U(e.high)}, approx.`})),t("td",{class:"mn-value",text:H(e.log10_e)}),t("td",{
class:"mn-value",text:B(e.p),title:e.how}),t("td",{class:"mn-value",text:B(e.holm)}),t("td",{class:"mn-wrap"},t(
"strong",{text:e.reason?`approximate: ${e.reason}`:e.holm<=n*(1+1e-9)?"depends on this order":"not shown"}),e.
warnings?t("span",{class:"mn-why",text:f(e.warnings,"warning")}):null)];return t("tr",{"aria-current":o===e.number?
"true":null},t("th",{scope:"row",class:"mn-wrap"},a),t("td",{class:"mn-wrap",text:e.reference||"none"}),...c(
"transcript")?[t("td",{class:"mn-wrap",text:e.transcript})]:[],...i)}))))]};const it=[.05,.01,.001,1e-4,1e-6];
function lt({model:n,el:s}){const a=X(n,{title:"Provenance bench",testid:"provenance-bench",name:"Provenance bench",
kind:"mn-prov",help:"Ask row by row",stop:"Stop after the rows in progress; the e-value stays valid",unit:
"Rows asked",start:()=>{v();l("run",{fields:b()})}});const{send:l,listen:c,root:d,row:p,error:h}=a;const m=t=>{for(
const[e,s]of Object.entries(t))n.set(e,s);l("move",{fields:t});wt()};const{bound:w,shown:b,flush:v,choose:y}=A(n,c,m);
const $=(e,n)=>w(e,t("input",{type:"number",step:1,...n}));const k=n.get("transcripts"),_=new Map(k.map(([t,e])=>[t,
e])),M=[...new Set([...it,n.get("alpha")])].sort((t,e)=>e-t);const q=y("suspect",n.get("suspects").map(t=>[t,u(g(t),
60)])),S=y("transcript",k.map(([t,e])=>[t,`${u(g(t),50)} (${f(e,"row")})`]));const N=y("reference",[...n.get(
"references").map(([t,e])=>[t,`${u(g(t),40)} (${e})`]),["","no reference (little power)"]]);const E=$("rows",{min:4}),
L=y("statistic",n.get("statistics")),T=y("alpha",M.map(t=>[t,String(t)]));const R=z(n,h,{title:
"This reference is refused: nothing is run with it",names:["transcript","reference"]}),F=t("div",{class:"mn-warning",
role:"status","data-testid":"doubts",hidden:true});const P=t("div",{},t("div",{class:"mn-controls"},r("Suspect",q),r(
"Transcript (the order asked about)",S),r("Reference",N),r("Score of a row",L)),t("div",{class:"mn-controls"},r(
"Stop rule",y("rule",n.get("rules"))),r("Level α",T),r("Rows, at most",E),r("Seed of the rows’ sequence",$("seed",{
min:0})),p),R.element,F,h);const B=()=>{if(![...T.options].some(t=>Number(t.value)===n.get("alpha"))){T.append(o(n.
get("alpha"),String(n.get("alpha"))));T.value=n.get("alpha")}const s=_.get(n.get("transcript"))??0,a=n.get("doubts");
E.max=s;L.disabled=!n.get("reference");e(E.closest("label").querySelector(".mn-label"),`${n.get("rule")==="e"?
"Rows, at most":"Rows, fixed"} (of ${V(s)})`);const r=a.transcript===n.get("transcript")&&a.reference===n.get(
"reference");R.draw();const i=U&&!gt().length?U.warnings:[],l=r?(a.texts??[]).filter(t=>!i.includes(t)):[];F.hidden=
!l.length;F.replaceChildren(...l.length?[t("strong",{text:"Before you run: "}),t("ul",{},...l.map(e=>t("li",{text:
e})))]:[])};let U=null;const H=i("Nothing asked yet",
"“Run” asks rows of the transcript one after another, in a random sequence that is blind to their "+
"order, and tests whether the suspect finds later rows easier than the reference does. The e-value "+
"may be watched and the run stopped at any time: no positions are shown while rows come.");const W=t("span",{class:
"mn-note","data-testid":"what"}),K=t("div",{class:"mn-warning","data-testid":"stale",hidden:true}),et=t("div",{class:
"mn-verdict","data-testid":"verdict",role:"status"}),nt=t("div",{class:"mn-warning","data-testid":"warnings",hidden:
true});const st=t("div",{class:"mn-tablebox","data-testid":"numbers"}),lt=t("div",{class:"mn-chart","data-testid":
"e-chart"}),ct=t("div",{class:"mn-chart","data-testid":"quantiles"}),dt=t("div",{class:"mn-chart","data-testid":
"null"});const ut=t("div",{class:"mn-note","data-testid":"conditions",hidden:true});const pt=t("details",{class:
"mn-numbers"},t("summary",{text:"Rows by position as a table"}),t("div",{class:"mn-tablebox"})),ht=t("p",{class:
"mn-note"});const mt=t("div",{},et,nt,t("div",{class:"mn-answer"},t("div",{},st,ut),t("div",{class:"mn-charts"},lt,
dt)),ct,pt,ht);const ft=t("section",{class:"mn-section","data-testid":"answer","aria-label":"Answer"},t("div",{class:
"mn-side-head"},t("h3",{text:"Does it depend on this order?"}),W),K,H,mt);const gt=()=>U?Object.entries(U.fields).
filter(([t,e])=>String(b()[t])!==String(e)).map(([t])=>t):[];const wt=()=>{const t=gt(),s=["running","stopping"].
includes(n.get("status"));K.hidden=!t.length||s;e(K,K.hidden?"":`The fields have changed (${t.join(
", ")}). What stands here is of ${U.what}; press Run `+`for the new question.`)};const bt=()=>{U=Z(n.get("found"));H.
hidden=!!U;mt.hidden=!U;St.files.hidden=!U;e(W,U?.what??"");wt();if(!U)return;const s=U;ft.setAttribute("data-n",s.n);
ft.setAttribute("data-status",s.status);et.setAttribute("data-kind",s.verdict.kind);et.setAttribute("aria-live",s.
verdict.kind==="running"?"off":"polite");et.replaceChildren(t("strong",{text:s.verdict.lead}),t("span",{text:` ${s.
verdict.text}`}));nt.hidden=!s.warnings.length;nt.replaceChildren(...s.warnings.length?[t("strong",{text:"Warnings"}),
t("ul",{},...s.warnings.map(e=>t("li",{text:e})))]:[]);st.replaceChildren(at(s));ut.hidden=!s.conditions.length;ut.
replaceChildren(...s.conditions.length?[t("strong",{text:"Guaranteed if"}),t("ul",{},...s.conditions.map(e=>t("li",{
text:e})))]:[]);pt.lastChild.replaceChildren(ot(s));e(ht,s.meaning);vt();B()};const xt=(t,e)=>[G(t,U,e[0],244),...U.
q_n.length?[J(t,U,e[1],250)]:[],...U.null_counts.length?[Q(t,U,e[2],244)]:[]];const vt=()=>{if(!d.isConnected)return;
if(!U)return;const t=mt.clientWidth||900,e=t>800,n=e?(t-24)/2.15:t,s=[n,t,n],[a,o,r]=xt(D,s.map(t=>Math.max(280,Math.
round(t))));lt.replaceChildren(a);ct.replaceChildren(...o?[o]:[]);dt.replaceChildren(...r?[r]:[]);pt.hidden=!o};
const yt=()=>C(xt(I,[460,520,460]).map(x));const $t=t("div",{"data-testid":"lines"}),kt=t("section",{class:
"mn-section","aria-label":"Suspects compared"},t("div",{class:"mn-side-head"},t("h3",{text:"Suspects compared"})),$t);
const _t=()=>{const e=n.get("lines"),s=n.get("alpha"),a=["running","stopping"].includes(n.get("status"));if(!e.
length){$t.replaceChildren(t("p",{class:"mn-note",text:
"Each question that is asked gets a line here, and Holm’s correction is over all of them: "+
"asking more suspects, or one suspect in several ways, costs evidence."}));return}const o=n.get("suspects").length;
const r=t=>l("show",{number:t});$t.replaceChildren(...rt(e,{level:s,busy:a,suspects:o,shown:U?.number,show:r}))};
const Mt=()=>`provenance_${(U?.fields.suspect??"result").replace(/[^\w-]+/g,"_")}`,qt=(t,e)=>j(`document-${t}`,e,()=>
l("document",{kind:t}));const St=Y(n,(t,e)=>l(t,{...e,fields:b()}),{stem:Mt,figure:yt,table:()=>tt(U),example:
"report.html, report.json, rows.csv",labels:{csv:"Rows by position (CSV)",save:
"Save on the kernel’s machine: report (.html, .json) or rows (.csv)"},before:[qt("html","Report (HTML)"),qt("json",
"Result (JSON)"),qt("csv","Every row (CSV)")]});O(n,c,Mt);c(["found"],()=>{bt()});c(["lines"],_t);c(["doubts"],B);c([
"suspect","transcript","reference","rows","statistic","rule","alpha","seed"],()=>{B();wt()});c(["alpha"],_t);c([
"status","progress","error"],()=>{wt();B()});c(["status","found"],_t);d.addEventListener("input",wt);const Nt=a.open(
s,{parts:[P,ft,kt],drawer:St,box:ft,draw:vt});bt();B();_t();return Nt}var ct={render:lt};export{ct as default};
