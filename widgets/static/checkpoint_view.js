// Built by npm run build from 13 files, sha256 677ab2ff36a1f73acff26b08b691e335ed832df751deabece1f1e28e74e6423c
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
text:s});const a=(e,s,n)=>t("label",{class:"mn-field"},t("span",{class:"mn-label",text:e}),s,null);const r=(e,s,n={
"data-testid":"empty"})=>t("div",{class:"mn-empty",...n},t("strong",{text:e}),t("p",{text:s}));const l=(e,s,n)=>t(
"div",{class:"mn-error",role:"alert","data-testid":n},t("strong",{text:e}),t("pre",{text:s}));let c=0;const h=t=>
`mn-${t}-${++c}-${Math.random().toString(36).slice(2,7)}`;const d=(t,e)=>{t.append(e);e.addEventListener(
"pointerdown",t=>{const e=t.button===0&&t.target.closest("button");if(!e||e.disabled)return;const s=n=>{if(n.
pointerId!==t.pointerId)return;document.removeEventListener("pointerup",s,true);document.removeEventListener(
"pointercancel",s,true);const o=Math.hypot(n.clientX-t.clientX,n.clientY-t.clientY)<6;if(n.type==="pointerup"&&o&&!e.
contains(n.target)&&e.isConnected)e.click()};document.addEventListener("pointerup",s,true);document.addEventListener(
"pointercancel",s,true)})};const u=e=>{if(!e||!/^[\w-]+$/.test(e))return()=>{};const s=t("style",{text:
`.jp-OutputArea-child:has(.mnemoscope-static-${e}), .mnemoscope-static-${e} { display: none `+`!important; }`});
document.head.append(s);return()=>s.remove()};const m=t=>[1,3,5].map(e=>parseInt(t.slice(e,e+2),16));const p=([t,e,
s])=>`rgb(${Math.round(t)},${Math.round(e)},${Math.round(s)})`;const f=([t,e,s])=>(.2126*t+.7152*e+.0722*s)/255;
const g=t=>{const e=t.map(m),s=e.length-1;return t=>{const n=Math.min(1,Math.max(0,t))*s,o=Math.min(s-1,Math.floor(
n)),i=n-o;return e[o].map((t,s)=>t+i*(e[o+1][s]-t))}};const w={light:{diverging:g(["#0a3a75","#2f7fc1","#a6cdec",
"#f9f9f7","#fbc98f","#dd7f1d","#853703"]),single:g(["#f9f9f7","#b9d8ee","#5a9fd4","#1f62a6","#08264f"]),missing:[214,
214,214],ink:"#1c1c1c"},dark:{diverging:g(["#a9d6ff","#4a9be0","#22507d","#202328","#7a4515","#dd8430","#ffd0a0"]),
single:g(["#202328","#1d4a73","#2f7fc1","#7cbcf0","#e6f4ff"]),missing:[78,82,88],ink:"#f2f2f2"}};const b=e=>{const s=
getComputedStyle(e.closest(".mnemoscope")??e);const n=(t,e)=>s.getPropertyValue(t).trim()||e;const o=t("canvas",{
width:1,height:1}).getContext("2d",{willReadFrequently:true});o.fillStyle="#ffffff";o.fillStyle=s.backgroundColor;o.
fillRect(0,0,1,1);const i=[...o.getImageData(0,0,1,1).data].slice(0,3),a=f(i)<.4;const r=a?w.dark:w.light;return{dark:
a,...r,page:i,text:s.color,muted:n("--mn-muted","#666"),accent:n("--mn-accent","#0b6bcb"),background:s.
backgroundColor,font:n("--mn-font","system-ui, sans-serif"),mono:n("--mn-mono","monospace")}};const v=t=>{const e=
new MutationObserver(()=>requestAnimationFrame(t));for(const t of[document.documentElement,document.body])e.observe(t,
{attributes:true,attributeFilter:["class","style","data-jp-theme-name","data-jp-theme-light",
"data-vscode-theme-kind"]});const s=matchMedia("(prefers-color-scheme: dark)");s.addEventListener("change",t);return(
)=>{e.disconnect();s.removeEventListener("change",t)}};class x{constructor(e){this.canvas=t("canvas",{width:128,
height:8,"aria-hidden":"true"});this.low=t("span");this.middle=t("span");this.high=t("span");this.title=t("div",{
class:"mn-bar-title"});this.element=t("div",{class:"mn-bar",role:"img","data-testid":e},this.title,this.canvas,t(
"div",{class:"mn-bar-ends"},this.low,this.middle,this.high))}update({ramp:t,low:s,middle:n="",high:o,title:i}){
const a=this.canvas.getContext("2d");for(let e=0;e<128;e++){a.fillStyle=p(t(e/127));a.fillRect(e,0,1,8)}e(this.low,s);
e(this.middle,n);e(this.high,o);e(this.title,i);this.element.setAttribute("aria-label",
`Colour scale: ${i}, from ${s} to ${o}`)}}const y=t=>{if(t==="")return"∅";return t.replace(/ /g,"·").replace(/\r?\n/g,
"⏎").replace(/\t/g,"⇥").replace(/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,t=>`‹${t.
codePointAt(0).toString(16).padStart(4,"0")}›`)};const k=(t,e)=>[...t].length>e?[...t].slice(0,e-1).join("")+"…":t;
const M=t=>{if(t===null||t===undefined||Number.isNaN(t))return"no value";if(!Number.isFinite(t))return t>0?"∞":"−∞";
const e=Math.abs(t);const s=e===0?"0":e>=1e5||e<1e-4?e.toExponential(2):e>=100?e.toFixed(1):e>=1?e.toFixed(2):e.
toFixed(3);return(t<0&&Number(s)!==0?"−":"")+s};const $=t=>(t>=.1?(100*t).toFixed(0):t>=.001?(100*t).toFixed(1):
"<0.1")+"%";const T=t=>t.map(t=>typeof t==="string"?`"${t.replace(/"/g,'""')}"`:Number.isNaN(t)?"":String(t)).join(
",")+"\r\n";const C=t=>{let e=0;for(const s of t){const t=Math.abs(s);if(t>e&&Number.isFinite(t))e=t}return e};
const A=(t,{title:e,subtitle:s,bar:n,limit:o,low:i=M(-o)})=>{const a="http://www.w3.org/2000/svg",r=w.light;const l=(
t,e,s)=>{const n=document.createElementNS(a,t);for(const[t,s]of Object.entries(e))n.setAttribute(t,s);if(s!==
undefined)n.textContent=s;return n};const c=t.columnLabels.map(t=>k(t.text,24)),h=Math.max(4,Math.min(26,900/t.
columns)),d=Math.max(4,Math.min(14,600/t.rows));const u=Math.max(1,Math.ceil(11/h)),m=Math.max(1,Math.ceil(11/d)),f=
Math.max(1,...c.map(t=>[...t].length))*6.1,g=f+4>h;const b=46,v=48,x=b+h*t.columns+Math.max(20,f*.55)+70,y=v+d*t.rows+
f*.87+36;const $=l("svg",{xmlns:a,width:Math.ceil(x),height:Math.ceil(y),viewBox:`0 0 ${Math.ceil(x)} ${Math.ceil(
y)}`,"font-family":"DejaVu Sans, Arial, sans-serif","font-size":10});$.append(l("rect",{width:"100%",height:"100%",
fill:"#ffffff"}),l("text",{x:b,y:18,"font-size":12,"font-weight":"bold"},e),l("text",{x:b,y:34,fill:"#555555"},s));
const T=e=>v+(t.flip?t.rows-1-e:e)*d;for(let e=0;e<t.rows;e++)for(let s=0;s<t.columns;s++)$.append(l("rect",{x:(b+
s*h).toFixed(2),y:T(e).toFixed(2),width:(h+.2).toFixed(2),height:(d+.2).toFixed(2),fill:p(t.colour(e,s,r)??r.
missing)}));$.append(l("rect",{x:b,y:v,width:h*t.columns,height:d*t.rows,fill:"none",stroke:"#888888","stroke-width":
.75}));for(let e=0;e<t.rows;e+=m)$.append(l("text",{x:b-4,y:T(e)+d/2+3.5,"text-anchor":"end"},t.rowLabels[e]));
const C=v+d*t.rows;for(let e=0;e<t.columns;e+=u){const s=b+(e+.5)*h-(g?2:0);$.append(l("text",{transform:
`translate(${s.toFixed(1)} ${C+(g?9:13)})${g?" rotate(60)":""}`,"text-anchor":g?"start":"middle","font-family":
"DejaVu Sans Mono, monospace","font-weight":t.columnLabels[e].strong?"bold":"normal"},c[e]))}$.append(l("text",{
transform:`translate(12 ${v+d*t.rows/2}) rotate(-90)`,"text-anchor":"middle",fill:"#555555"},t.rowTitle),l("text",{x:
b,y:y-8,fill:"#555555"},t.columnTitle));const A=b+h*t.columns+14,L=60,S=Math.min(160,d*t.rows);for(let t=0;t<L;t++)$.
append(l("rect",{x:A,y:v+S*t/L,width:9,height:S/L+.3,fill:p(r.diverging(1-t/(L-1)))}));for(const[t,e]of[[M(o),0],["0",
.5],[i,1]])$.append(l("text",{x:A+13,y:v+S*e+4},t));$.append(l("text",{transform:`translate(${A+50} ${v+
S/2}) rotate(90)`,"text-anchor":"middle",fill:"#555555"},n));return{text:(new XMLSerializer).serializeToString($),
width:Math.ceil(x),height:Math.ceil(y)}};const L=(e,s=3)=>new Promise((n,o)=>{const i=new Image;i.onload=()=>{const o=
t("canvas",{width:e.width*s,height:e.height*s});const a=o.getContext("2d");a.scale(s,s);a.drawImage(i,0,0);o.toBlob(n,
"image/png")};i.onerror=()=>o(new Error("the browser could not draw the figure"));i.src=
"data:image/svg+xml;charset=utf-8,"+encodeURIComponent(e.text)});const S=t=>{if(!t)return new Float32Array(0);const e=
t instanceof ArrayBuffer?new DataView(t):t;const s=e.byteOffset%4?e.buffer.slice(e.byteOffset,e.byteOffset+e.
byteLength):e.buffer;return new Float32Array(s,e.byteOffset%4?0:e.byteOffset,Math.floor(e.byteLength/4))};const E=t=>{
const e=[];return{undo:e,send:(e,s={})=>t.send({type:e,...s}),listen:(s,n)=>{for(const o of s){t.on(`change:${o}`,n);
e.push(()=>t.off(`change:${o}`,n))}},set:e=>{for(const[s,n]of Object.entries(e))t.set(s,n);t.save_changes()}}};
const O=(e,s,n)=>{const o={},a={range:true,number:true};const r=(t,s)=>{const n=typeof e.get(t);return n==="boolean"?
s.checked:n!=="number"?s.value:s.value===""?NaN:Number(s.value)};const l=(t,e)=>{if(t.type==="checkbox")t.checked=e;
else t.value=e};const c=(t,i)=>{o[t]=i;i.setAttribute("data-testid",t);let c,h,d=0;const u=()=>{clearTimeout(h);
const s=d-Date.now();if(s>0){h=setTimeout(u,s);return}if(r(t,i)!==e.get(t)){l(i,e.get(t));i.dispatchEvent(new Event(
"pulled"))}};u();s([t],u);const m=()=>{clearTimeout(c);const s=r(t,i);if(!Number.isNaN(s)&&s!==e.get(t))n({[t]:s})};i.
addEventListener("change",m);if(i.tagName!=="SELECT"&&i.type!=="checkbox")i.addEventListener("input",()=>{
clearTimeout(c);if(a[i.type]){d=Date.now()+700;m()}else c=setTimeout(m,350)});i.flush=m;return i};return{inputs:o,
bound:c,shown:()=>Object.fromEntries(Object.entries(o).map(([t,e])=>[t,r(t,e)]).filter(([,t])=>!Number.isNaN(t))),
flush:()=>{for(const t of Object.values(o))t.flush()},area:(e,s={})=>c(e,t("textarea",{rows:2,spellcheck:"false",
autocapitalize:"off",...s})),line:(e,s)=>c(e,t("input",{type:"text",spellcheck:"false",autocomplete:"off",placeholder:
s})),choose:(e,s)=>c(e,t("select",{},...s.map(([t,e])=>i(t,e))))}};const H=(e,s,n,o="")=>t("button",{type:"button",
class:`mn-button ${o}`,"data-testid":e,text:s,onclick:n});const W={svg:"Figure (SVG)",png:"Figure (PNG)",csv:
"Data (CSV)",save:"Save the labelled data on the kernel’s machine as"};const N=(s,i,{stem:r,figure:l,table:c,example:
h,labels:d={},before:u=[],after:m=[]})=>{const p={...W,...d};const f=t("textarea",{class:"mn-code",readonly:true,rows:
12,spellcheck:"false","aria-label":"Python that reproduces this view","data-testid":"code"});const g=t("input",{type:
"text","data-testid":"path",placeholder:h,spellcheck:"false"});const w=t("div",{class:"mn-note","data-testid":"saved",
role:"status"}),b=t("input",{type:"checkbox","data-testid":"overwrite"});const v=()=>i("save",{path:g.value,overwrite:
b.checked});g.onkeydown=t=>{if(t.key==="Enter")v()};const x=async t=>{const s=t.currentTarget;await o(f.value,f);e(s,
"Copied");setTimeout(()=>e(s,"Copy"),1500)};const y=t("div",{},t("div",{class:"mn-buttons"},...u,H("svg",p.svg,()=>n(
`${r()}.svg`,"image/svg+xml",l().text)),H("png",p.png,async()=>n(`${r()}.png`,"image/png",await L(l()))),H("csv",p.
csv,()=>n(`${r()}.csv`,"text/csv",c())),...m),t("div",{class:"mn-saverow"},a(p.save,g),H("save","Save",v),t("label",{
class:"mn-check"},b,"replace what is there")),w);const k=t("details",{class:"mn-more","data-testid":"export"},t(
"summary",{text:"Export and code"}),y,t("div",{class:"mn-side-head"},t("span",{class:"mn-label",text:
"Python that reproduces this view"}),H("copy","Copy",x,"mn-small")),f);const M=()=>{const t=s.get("saved");e(w,t.
text??"");w.classList.toggle("mn-bad",t.ok===false);f.value=s.get("code");f.rows=f.value.split("\n").length+1};return{
element:k,files:y,draw:M}};const j=(t,e)=>{const{rows:s,columns:n}=t.grid,o=(e,o)=>e>=0&&e<s&&o>=0&&o<n&&t.cone(e,o),{
cw:i,ch:a}=t;e.lineWidth=1;const r=i>=6&&a>=6,l=new Path2D;for(let c=0;c<s;c++)for(let s=0;s<n;s++){if(!o(c,
s))continue;const n=s*i,h=t.y(c),d=t.grid.flip?c+1:c-1,u=t.grid.flip?c-1:c+1;if(r){const o=t.grid.colour?t.grid.
colour(c,s,t.theme)??t.theme.missing:t.theme.missing;e.fillStyle=f(o)>.45?"rgba(0,0,0,.62)":"rgba(255,255,255,.75)";e.
fillRect(n+i/2-1,h+a/2-1,2,2)}if(!o(d,s)){l.moveTo(n,h+.5);l.lineTo(n+i,h+.5)}if(!o(u,s)){l.moveTo(n,h+a-.5);l.lineTo(
n+i,h+a-.5)}if(!o(c,s-1)){l.moveTo(n+.5,h);l.lineTo(n+.5,h+a)}if(!o(c,s+1)){l.moveTo(n+i-.5,h);l.lineTo(n+i-.5,h+
a)}}e.strokeStyle=t.theme.background;e.lineWidth=3;e.stroke(l);e.strokeStyle=t.theme.text;e.lineWidth=1.25;e.stroke(
l)};const F={minWidth:3,maxWidth:46,minHeight:3,maxHeight:22,label:11};class R{constructor({label:e,testid:s,name:n,
hover:o=()=>{},select:i=()=>{},key:a=()=>false}){Object.assign(this,{name:n,onHover:o,onSelect:i,onKey:a});this.focus=
{row:0,column:0};this.hovered=null;this.selected=null;this.cone=null;this.marks=[];this.grid=null;const r=h("cell");
this.cell=t("div",{role:"gridcell",id:r,"data-testid":`${s}-cell`});this.rowLabels=t("canvas",{class:"mn-rows",
"aria-hidden":"true"});this.base=t("canvas",{"aria-hidden":"true"});this.overlay=t("canvas",{class:"mn-overlay",
"aria-hidden":"true"});this.stack=t("div",{class:"mn-stack"},this.base,this.overlay);this.scroller=t("div",{class:
"mn-scroll"},this.stack);this.tip=t("div",{class:"mn-tip","aria-hidden":"true","data-testid":`${s}-tip`,hidden:true});
this.cellRow=t("div",{class:"mn-hidden",role:"row"},this.cell);this.element=t("div",{class:"mn-map",role:"grid",
tabindex:"0","aria-label":e,"aria-activedescendant":r,"aria-readonly":"true","data-testid":s,onkeydown:t=>this.
keydown(t),onfocus:()=>this.showFocus(),onblur:()=>{this.hideTip();this.drawOverlay()}},this.cellRow,this.rowLabels,
this.scroller,this.tip);this.stack.addEventListener("mousemove",t=>this.mousemove(t));this.stack.addEventListener(
"mouseleave",()=>{this.hovered=null;this.hideTip();this.drawOverlay();this.onHover(null)});this.stack.
addEventListener("click",t=>{const e=this.at(t);if(e){this.focus=e;this.element.focus({preventScroll:true});this.
hideTip();this.choose()}})}update(t,e){const s=this.grid;this.grid=t;this.width=e;if(!s||s.rows!==t.rows||s.columns!==
t.columns){this.focus=t.start??{row:t.flip?t.rows-1:0,column:0};this.hovered=null;this.selected=null;this.cone=
null}this.focus={row:Math.min(this.focus.row,t.rows-1),column:Math.min(this.focus.column,t.columns-1)};this.element.
setAttribute("aria-rowcount",t.rows);this.element.setAttribute("aria-colcount",t.columns);this.draw()}layout(){const{
rows:t,columns:e,rowLabels:s,columnLabels:n}=this.grid,o=this.base.getContext("2d");o.font=`${F.label}px ${this.theme.
mono}`;const i=t=>Math.max(0,...t.slice(0,2e3).map(t=>o.measureText(t).width));this.left=Math.ceil(i(s))+(this.grid.
rowTitle?26:10);const a=Math.max(60,this.width-this.left-4);const r=e*t>2e4;this.cw=this.grid.cellWidth??Math.max(r?1:
F.minWidth,Math.min(F.maxWidth,Math.floor(a/e)));if(!this.grid.cellWidth&&e<=400)this.cw=Math.max(this.cw,Math.min(12,
F.maxWidth));this.cw=Math.max(1,Math.min(this.cw,Math.floor(12e3/e)));const l=this.grid.height??430;this.ch=this.grid.
cellHeight??Math.max(r?1:F.minHeight,Math.min(F.maxHeight,Math.floor(l/t)));this.ch=Math.max(1,Math.min(this.ch,Math.
floor(12e3/t)));const c=n.map(t=>k(t.text,20)),h=i(c);this.turned=h+6>this.cw;this.every=this.turned?Math.max(1,Math.
ceil((F.label+2)/this.cw)):1;this.rowEvery=Math.max(1,Math.ceil((F.label+2)/this.ch));this.plotWidth=this.cw*e;this.
plotHeight=this.ch*t;this.lean=this.turned?Math.ceil(h*.5)+8:0;this.bottom=(this.turned?Math.ceil(h*.87)+14:20)+(this.
grid.columnTitle?16:0);this.turnedTexts=c}size(t,e,s){const n=Math.min(window.devicePixelRatio||1,e*s>4e6?1:3);t.
width=Math.max(1,Math.round(e*n));t.height=Math.max(1,Math.round(s*n));t.style.width=`${e}px`;t.style.height=`${s}px`;
const o=t.getContext("2d");o.setTransform(n,0,0,n,0,0);o.clearRect(0,0,e,s);return o}y(t){return(this.grid.flip?this.
grid.rows-1-t:t)*this.ch}draw(){if(!this.grid||!this.element.isConnected)return;this.theme=b(this.element);this.
layout();const{rows:t,columns:e,columnLabels:s,rowLabels:n}=this.grid,{theme:o}=this;const i=this.size(this.base,this.
plotWidth+this.lean,this.plotHeight+this.bottom);this.size(this.overlay,this.plotWidth,this.plotHeight);if(this.grid.
image){i.imageSmoothingEnabled=false;i.drawImage(this.grid.image(o),0,0,this.plotWidth,this.plotHeight)}else this.
drawCells(i);i.strokeStyle=o.muted;i.globalAlpha=.5;i.lineWidth=1;i.strokeRect(.5,.5,this.plotWidth-1,this.plotHeight-
1);i.globalAlpha=1;i.textBaseline="middle";for(let t=0;t<e;t+=this.every){const{strong:e}=s[t],n=(t+.5)*this.cw;i.
font=`${e?"bold ":""}${F.label}px ${o.mono}`;i.fillStyle=e?o.accent:o.text;i.save();if(this.turned){i.translate(n-2,
this.plotHeight+6);i.rotate(Math.PI/3);i.textAlign="left"}else{i.translate(n,this.plotHeight+10);i.textAlign=
"center"}i.fillText(this.turnedTexts[t],0,0);i.restore()}i.fillStyle=o.muted;i.font=`${F.label}px ${o.font}`;if(this.
grid.columnTitle){i.textAlign="left";i.fillText(this.grid.columnTitle,0,this.plotHeight+this.bottom-8)}const a=this.
size(this.rowLabels,this.left,this.plotHeight+this.bottom);a.textAlign="right";a.textBaseline="middle";a.fillStyle=o.
text;a.font=`${F.label}px ${o.mono}`;for(let e=0;e<t;e+=this.rowEvery)a.fillText(n[e],this.left-5,this.y(e)+this.
ch/2);if(this.grid.rowTitle){a.save();a.translate(8,this.plotHeight/2);a.rotate(-Math.PI/2);a.textAlign="center";a.
fillStyle=o.muted;a.font=`${F.label}px ${o.font}`;a.fillText(this.grid.rowTitle,0,0);a.restore()}this.drawOverlay();
this.announce()}drawCells(e){const{rows:s,columns:n,colour:o}=this.grid,i=t("canvas",{width:n,height:s}),a=i.
getContext("2d");const r=a.createImageData(n,s),l=[];for(let t=0;t<s;t++)for(let e=0;e<n;e++){const i=o(t,e,this.
theme),a=4*((this.grid.flip?s-1-t:t)*n+e),[c,h,d]=i??this.theme.missing;if(!i&&l.length<2e4)l.push([t,e]);r.data[a]=c;
r.data[a+1]=h;r.data[a+2]=d;r.data[a+3]=255}a.putImageData(r,0,0);e.imageSmoothingEnabled=false;e.drawImage(i,0,0,
this.plotWidth,this.plotHeight);if(this.cw<5||this.ch<5)return;e.strokeStyle=this.theme.background;e.globalAlpha=.55;
e.lineWidth=1.5;e.beginPath();for(const[t,s]of l){const n=s*this.cw,o=this.y(t);e.moveTo(n,o+this.ch);e.lineTo(n+this.
cw,o)}e.stroke();e.globalAlpha=1}drawOverlay(){if(!this.grid||!this.cw)return;const t=this.overlay.getContext("2d"),{
cw:e,ch:s,theme:n}=this;t.clearRect(0,0,this.plotWidth,this.plotHeight);if(this.cone)j(this,t);const o=(o,i,a,r=[])=>{
if(!o)return;const l=o.column*e,c=this.y(o.row);t.setLineDash(r);for(const[o,r]of[[n.background,2],[i,0]]){t.
strokeStyle=o;t.lineWidth=a+r;t.strokeRect(l+1,c+1,Math.max(e-2,1),Math.max(s-2,1))}t.setLineDash([])};for(
const o of this.marks){const i=o.column*e+e/2,a=this.y(o.row)+s/2,r=Math.max(2,Math.min(4,e/4,s/4));t.beginPath();t.
arc(i,a,r,0,7);t.fillStyle=n.background;t.fill();t.lineWidth=1.5;t.strokeStyle=n.text;t.stroke()}o(this.hovered,n.
text,1);o(this.linked,n.text,1,[3,2]);if(document.activeElement===this.element)o(this.focus,n.accent,2,[4,2]);o(this.
selected,n.text,2.5)}at(t){if(!this.grid)return null;const e=this.overlay.getBoundingClientRect(),s=Math.floor((t.
clientX-e.left)/this.cw),n=Math.floor((t.clientY-e.top)/this.ch);if(s<0||s>=this.grid.columns||n<0||n>=this.grid.
rows)return null;return{row:this.grid.flip?this.grid.rows-1-n:n,column:s}}mousemove(t){const e=this.at(t);if(e&&this.
hovered&&e.row===this.hovered.row&&e.column===this.hovered.column)return;this.hovered=e;this.drawOverlay();this.
onHover(e);if(e)this.showTip(e);else this.hideTip()}showTip(e){if(!this.grid.tip)return;const s=this.grid.tip(e.row,e.
column);this.tip.replaceChildren(...s.map(([e,s])=>t("div",{},e?t("span",{class:"mn-tip-label",text:`${e} `}):null,t(
"span",{text:s}))));this.tip.hidden=false;const n=this.element.getBoundingClientRect(),o=this.overlay.
getBoundingClientRect();const i=o.left-n.left+(e.column+1)*this.cw+8,a=o.top-n.top+this.y(e.row)+this.ch+6;const r=i+
this.tip.offsetWidth>n.width?i-this.cw-this.tip.offsetWidth-16:i;const l=a+this.tip.offsetHeight>n.height?a-this.ch-
this.tip.offsetHeight-12:a;this.tip.style.left=`${Math.max(0,r)}px`;this.tip.style.top=`${Math.max(0,l)}px`}hideTip(){
this.tip.hidden=true}showFocus(){this.drawOverlay();this.announce()}announce(){const{row:t,column:e}=this.focus;this.
cellRow.setAttribute("aria-rowindex",(this.grid.flip?this.grid.rows-1-t:t)+1);this.cell.setAttribute("aria-colindex",
e+1);this.cell.setAttribute("aria-selected",String(!!this.selected&&this.selected.row===t&&this.selected.column===e));
const s=this.name(t,e);this.cell.setAttribute("aria-label",s)}choose(){this.selected={...this.focus};this.onSelect(
this.selected);this.drawOverlay();this.announce()}keydown(t){if(!this.grid||t.ctrlKey||t.altKey||t.metaKey)return;
const e=this.grid.flip?1:-1,{rows:s,columns:n}=this.grid,o={...this.focus};const i={ArrowUp:[e,0],ArrowDown:[-e,0],
ArrowLeft:[0,-1],ArrowRight:[0,1],PageUp:[5*e,0],PageDown:[-5*e,0],Home:[0,-n],End:[0,n]};if(t.key in i){o.row+=i[t.
key][0];o.column+=i[t.key][1]}else if(t.key==="Enter"||t.key===" "){this.choose()}else if(t.key==="Escape"){this.
hideTip();return}else{if(this.onKey(t.key,this.focus)){t.preventDefault();t.stopPropagation()}return}t.preventDefault(
);t.stopPropagation();this.focus={row:Math.min(s-1,Math.max(0,o.row)),column:Math.min(n-1,Math.max(0,o.column))};this.
reveal();this.drawOverlay();this.announce();this.onHover(this.focus);this.showTip(this.focus)}reveal(){const t=this.
focus.column*this.cw,e=this.scroller;if(t<e.scrollLeft)e.scrollLeft=t-20;else if(t+this.cw>e.scrollLeft+e.
clientWidth)e.scrollLeft=t+this.cw-e.clientWidth+20;const s=this.y(this.focus.row);if(s<e.scrollTop)e.scrollTop=s;
else if(s+this.ch>e.scrollTop+e.clientHeight&&e.scrollHeight>e.clientHeight)e.scrollTop=s+this.ch-e.
clientHeight}}const P=(e,s,n)=>t("div",{class:"mn-predictions"},t("h4",{text:e}),t("ol",{},...s.map(([e,s])=>{const[o,
i,a=""]=n.get(e)??[];return t("li",{},t("span",{class:"mn-p-bar",style:`width:${(100*s).toFixed(1)}%`}),t("code",{
text:k(y(e),18),title:y(e)}),o?t("span",{class:`mn-tag ${a}`,text:o,title:i,"aria-label":i}):null,t("span",{class:
"mn-p",text:$(s)}))})));const D=(e,{send:s,listen:n})=>{const o=t("select",{"data-testid":"examples","aria-label":
"Example shown",onchange:()=>s("example",{number:Number(o.value)})});const a=t("label",{class:"mn-examples"},t("span",
{class:"mn-note",text:"Example"}),o);const r=()=>{const{names:t=[],own:s=false,chosen:n=null}=e.get("examples");a.
hidden=t.length+s<1||t.length===1&&!s&&n===0;o.replaceChildren(...n===null?[i("","choose one …")]:[],...t.map((t,e)=>
i(String(e),t)),...s?[i("-1","your last input")]:[]);o.value=n===null?"":String(n)};n(["examples"],r);r();return a};
const B=(s,n,{send:o,listen:i},{start:a,label:r,help:l,stop:c,unit:h})=>{const d=t("button",{class:
"mn-button mn-primary",type:"button","data-testid":"run",text:r,title:`${l} (Ctrl+Enter)`,onclick:a});const u=t(
"button",{class:"mn-button",type:"button","data-testid":"stop",text:"Stop",title:c,onclick:()=>o("stop")});const m=t(
"div",{class:"mn-progress-fill"}),p=t("span",{class:"mn-note","data-testid":"progress",role:"status"});const f=t(
"div",{class:"mn-progress",role:"progressbar","aria-label":h,"aria-valuemin":0,"aria-valuemax":100},m);const g=t(
"div",{class:"mn-error",role:"alert","data-testid":"error",hidden:true});const w=()=>{const o=s.get("status"),i=s.get(
"progress"),a=i.total?Math.round(100*i.done/i.total):0,r=s.get("error");u.disabled=o!=="running";n.setAttribute(
"data-status",o);f.hidden=o!=="running"&&o!=="stopping";m.style.width=`${a}%`;f.setAttribute("aria-valuenow",a);e(p,i.
text??"");g.hidden=!r.text;g.replaceChildren(...r.text?[t("strong",{text:r.title}),t("pre",{text:r.text})]:[])};i([
"status","progress","error"],w);w();const b=t("div",{class:"mn-run"},d,u,t("div",{class:"mn-status"},f,p));return{run:
d,row:b,error:g}};const I=(e,{title:n,testid:o,name:i,kind:a,data:r,start:l,label:c="Run",help:h,stop:m,unit:p})=>{
const f=E(e);const g=t("span",{class:"mn-chip","data-testid":"model",text:r??e.get("model_info").text});const w=t(
"div",{class:`mnemoscope ${a}`,"data-testid":o,"data-lm-suppress-shortcuts":"true",role:"region","aria-label":i});
const{run:x,row:y,error:k}=B(e,w,f,{start:l,label:c,help:h,stop:m,unit:p});w.addEventListener("keydown",t=>{if(t.
key!=="Enter"||!(t.ctrlKey||t.metaKey))return;t.preventDefault();t.stopPropagation();x.click()});const M=(o,{parts:i,
drawer:a,box:r,draw:l})=>{const c=t("header",{class:"mn-header"},t("h2",{text:n}),t("div",{class:"mn-about"},D(e,f),
g));w.append(c,...i.filter(t=>t),a.element);d(o,w);const h=()=>{w.setAttribute("data-dark",b(w).dark);l()};f.listen([
"saved","code"],a.draw);f.undo.push(v(h),s(w,r,h),u(e.get("static_key")));a.draw();return()=>{for(const t of f.undo)t(
)}};return{...f,root:w,line:g,run:x,row:y,error:k,open:M}};const z={nothing:"as it is",floor:
"beyond two runs of one recipe",random:"beyond a random move as far",twin:"beyond another run’s state"};const _=t=>{
if(!t?.shape)return null;const e={};for(const[s,n]of Object.entries(t.tables)){e[s]={...n,values:{nothing:S(n.
value)}};for(const t of n.against)if(t!=="nothing")e[s].values[t]=S(n[t])}return{...t,tables:e}};const K=(t,e,s)=>{
const n=t.tables[e]?e:Object.keys(t.tables)[0];return[n,t.tables[n].against.includes(s)?s:"nothing"]};const U=(t,e,
s)=>{const n=e*t.shape[1]+s,o=[];for(const e of Object.values(t.tables))for(const t of e.against)o.push([t===
"nothing"?e.label:`… ${z[t]}`,M(e.values[t][n])]);return o};const V=(t,e,s)=>`layer ${t.rows[e]}, position ${t.
columns[s]} ${y(t.tokens[s])}`;const X=(t,e,s)=>({rows:t.shape[0],columns:t.shape[1],rowLabels:t.rows.map(String),
columnLabels:t.tokens.map(t=>({text:y(t)})),rowTitle:"layer",columnTitle:"token",flip:true,colour:(n,o,i)=>{const a=e[
n*t.shape[1]+o];return Number.isNaN(a)?null:i.diverging(.5+a/s/2)},tip:(e,s)=>[["",V(t,e,s)],...U(t,e,s)]});const Y=
t=>{const e=Object.entries(t.tables).flatMap(([t,e])=>e.against.map(s=>[s==="nothing"?t:`${t}_beyond_${s}`,e.values[
s]]));let s=T(["layer","position","token",...e.map(([t])=>t)]);for(let n=0;n<t.shape[0];n++)for(let o=0;o<t.shape[1];
o++)s+=T([t.rows[n],t.columns[o],t.tokens[o],...e.map(([,e])=>e[n*t.shape[1]+o])]);return s};const q={nothing:
"mean over cells",floor:"of two runs of one recipe",random:"of a random move as far",twin:"of another run’s state"};
function G({model:s,el:n}){const o=I(s,{title:"Two checkpoints",testid:"checkpoint-view",name:"Two checkpoints",kind:
"mn-panels mn-checkpoints",label:"Compare",help:"Compare both models on this prompt",stop:
"Stop; what is computed by then stays",unit:"Parts computed",start:()=>{b();c("run",{fields:w()})}});const{send:c,
listen:h,set:d,root:u,row:m,error:p}=o,f=t=>s.get(t);const{inputs:g,shown:w,flush:b,area:v,line:k,choose:$}=O(s,h,d);
const T=t("div",{class:"mn-form"},a("Prompt, read by both",v("prompt")),t("div",{class:"mn-pair"},a("Answer",k(
"answer","empty: the source’s next token")),a("Foil",k("foil","empty: the other’s"))));const L=t("div",{class:
"mn-controls"},a("States are copied",$("direction",[["b into a","from B into A"],["a into b","from A into B"]])),m);g.
direction.addEventListener("change",()=>o.run.click());let S=null,E=null;const H=t("p",{class:"mn-caption",
"data-testid":"caption"}),W=t("div",{"data-testid":"notes"}),j=new x("colour-bar"),F=t("select",{"data-testid":"show",
"aria-label":"Quantity shown"}),D=t("select",{"data-testid":"against","aria-label":"Set against"});F.onchange=()=>d({
show:F.value});D.onchange=()=>d({against:D.value});const B=new R({label:
"Difference of the two models by layer and token. Arrow keys move, Enter copies the state.",testid:"map",name:(t,e)=>
S?[V(S,t,e),...U(S,t,e).map(([t,e])=>`${t} ${e}`)].join(", "):"",select:t=>S&&d({cell:{layer:S.rows[t.row],position:S.
columns[t.column]}})});const G=r("Nothing compared yet",
"Compare runs both models on the prompt, tells how far apart their states are at every layer and token, and puts "+
"each state of one into the other.");const Q=t("div",{class:"mn-toolbar"},F,D,j.element);const J=t("section",{class:
"mn-main","aria-label":"Map"},Q,H,G,B.element,W);const Z=t("section",{class:"mn-side","data-testid":"side",
"aria-live":"polite","aria-label":"Copy"});const tt=(t,e,s)=>{if([...t.options].map(t=>t.value).join()!==e.map(([t])=>
t).join())t.replaceChildren(...e.map(([t,e])=>i(t,e)));t.value=s};const et=()=>{if(!u.isConnected)return;for(
const t of[Q,H,B.element,W,nt.element])t.hidden=!S;G.hidden=!!S||!!f("error").text||f("status")==="running";if(
!S)return;const[s,n]=K(S,f("show"),f("against")),o=S.tables[s],i=o.values[n],a=C(i)||1;tt(F,Object.entries(S.tables).
map(([t,e])=>[t,e.label]),s);tt(D,o.against.map(t=>[t,z[t]]),n);D.hidden=o.against.length<2;const r=X(S,i,a);B.update(
r,J.clientWidth||600);const l=f("cell"),c={row:S.rows.indexOf(l.layer),column:S.columns.indexOf(l.position)};B.
selected=c.row>=0&&c.column>=0?c:null;B.drawOverlay();B.announce();const h=n==="nothing"?o.unit:`${o.unit}; ${z[n]}`;
j.update({ramp:B.theme.diverging,low:M(-a),middle:"0",high:M(a),title:h});const d=Object.entries(o.means).map(([t,
e])=>`${q[t]} ${M(e)}`).join(", ");const m=s==="effect"?` From ${S.source} into ${S.into}: log-odds of ${y(S.
answer)} over ${y(S.foil)}, `+`${M(S.into_value)} as it is, ${M(S.source_value)} in the other.`:"";e(H,
`${d}.${m} One prompt: numbers of this text, without an interval.`);W.replaceChildren(...S.notes.map(e=>t("p",{class:
"mn-warning",text:e})));E=()=>A(r,{title:`${S.source} and ${S.into}: ${o.label}`,subtitle:h,bar:o.label,limit:a})};
const st=()=>{const e=f("detail"),s=t("h3",{text:"The copied state"});Z.setAttribute("data-status",e.status??"none");
if(e.layer===undefined||!S){const e=
"Click a cell, or move with the arrow keys and press Enter: the state of one model at that layer and token "+
"is put into the other, and what it says next is read.";Z.replaceChildren(s,t("p",{class:"mn-note",text:e}));
return}const n=S.rows.indexOf(e.layer),o=S.columns.indexOf(e.position),i=t("dl",{class:"mn-facts","data-testid":
"facts"});for(const[e,s]of n>=0&&o>=0?U(S,n,o):[])i.append(t("dt",{text:e}),t("dd",{text:s}));const a=new Map([[S.
foil,["F","foil","mn-foil"]],[S.answer,["A","answer"]]]);const[r,c]=S.direction==="b into a"?["A","B"]:["B","A"],h=(t,
s)=>P(s,e[t],a);Z.replaceChildren(s,t("p",{class:"mn-note",text:`layer ${e.layer}, position ${e.position}, token ${y(
e.token)}`}),i,...e.status==="ready"?[t("h4",{text:"Next token"}),t("div",{class:"mn-columns"},h("into",
`${r} as it is`),h("edited",`${r} with ${c}’s state`),h("source",`${c} as it is`))]:e.status==="error"?[l(
"The state could not be copied",e.text,"copy-error")]:[t("p",{class:"mn-note",text:e.status==="waiting"?
"Copies are not computed yet; press Compare.":"Copying …"})])};const nt=N(s,c,{stem:()=>`checkpoints_run${S.run}`,
figure:()=>E(),table:()=>Y(S),example:"compared.zarr, compared.nc, compared.csv"});const ot=()=>{S=_(f("map"));et();
st()};h(["map"],ot);h(["show","against","cell","status","error"],et);h(["detail"],st);const it=o.open(n,{parts:[T,L,p,
t("div",{class:"mn-body"},J,Z)],drawer:nt,box:J,draw:et});ot();return it}var Q={render:G};export{Q as default};
