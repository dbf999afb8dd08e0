// Built by npm run build from 16 files, sha256 53a8747502e37181d7e7f661cd25136b4f5ff129e8229224c167e7282093193f
const t=(t,e={},...n)=>{const s=document.createElement(t);for(const[t,n]of Object.entries(e)){if(n===null||n===
undefined||n===false)continue;if(t==="text")s.textContent=n;else if(t.startsWith("on"))s.addEventListener(t.slice(2),
n);else if(t==="value")s.value=n;else s.setAttribute(t,n===true?"":n)}s.append(...n.filter(t=>t!==null&&t!==
undefined));if(s.matches("input, select, textarea, button, summary, [tabindex]"))s.setAttribute(
"data-lm-suppress-shortcuts","true");return s};const e=(t,e)=>{if(t.textContent!==e)t.textContent=e};const n=(t,e,n)=>
{let s=0;const o=new ResizeObserver(()=>{const o=t.isConnected?e.clientWidth:0,i=Math.abs(o-s)>4;s=o;if(!o)return;if(
i)n();t.setAttribute("data-ready","true")});o.observe(e);return()=>o.disconnect()};const s=(e,n,s)=>{const o=URL.
createObjectURL(s instanceof Blob?s:new Blob([s],{type:n}));const i=t("a",{href:o,download:e});document.body.append(
i);i.click();i.remove();setTimeout(()=>URL.revokeObjectURL(o),1e4)};const o=async(t,e)=>{try{await navigator.
clipboard.writeText(t)}catch{e.focus();e.select();document.execCommand("copy")}};const i=(e,n)=>t("option",{value:e,
text:n});const a=(e,n,s)=>t("label",{class:"mn-field"},t("span",{class:"mn-label",text:e}),n,null);let r=0;const l=t=>
`mn-${t}-${++r}-${Math.random().toString(36).slice(2,7)}`;const c=(t,e)=>{t.append(e);e.addEventListener(
"pointerdown",t=>{const e=t.button===0&&t.target.closest("button");if(!e||e.disabled)return;const n=s=>{if(s.
pointerId!==t.pointerId)return;document.removeEventListener("pointerup",n,true);document.removeEventListener(
"pointercancel",n,true);const o=Math.hypot(s.clientX-t.clientX,s.clientY-t.clientY)<6;if(s.type==="pointerup"&&o&&!e.
contains(s.target)&&e.isConnected)e.click()};document.addEventListener("pointerup",n,true);document.addEventListener(
"pointercancel",n,true)})};const d=e=>{if(!e||!/^[\w-]+$/.test(e))return()=>{};const n=t("style",{text:
`.jp-OutputArea-child:has(.mnemoscope-static-${e}), .mnemoscope-static-${e} { display: none `+`!important; }`});
document.head.append(n);return()=>n.remove()};const h=t=>[1,3,5].map(e=>parseInt(t.slice(e,e+2),16));const u=([t,e,
n])=>`rgb(${Math.round(t)},${Math.round(e)},${Math.round(n)})`;const m=([t,e,n])=>(.2126*t+.7152*e+.0722*n)/255;
const p=t=>{const e=t.map(h),n=e.length-1;return t=>{const s=Math.min(1,Math.max(0,t))*n,o=Math.min(n-1,Math.floor(
s)),i=s-o;return e[o].map((t,n)=>t+i*(e[o+1][n]-t))}};const f={light:{diverging:p(["#0a3a75","#2f7fc1","#a6cdec",
"#f9f9f7","#fbc98f","#dd7f1d","#853703"]),single:p(["#f9f9f7","#b9d8ee","#5a9fd4","#1f62a6","#08264f"]),missing:[214,
214,214],ink:"#1c1c1c"},dark:{diverging:p(["#a9d6ff","#4a9be0","#22507d","#202328","#7a4515","#dd8430","#ffd0a0"]),
single:p(["#202328","#1d4a73","#2f7fc1","#7cbcf0","#e6f4ff"]),missing:[78,82,88],ink:"#f2f2f2"}};const g=e=>{const n=
getComputedStyle(e.closest(".mnemoscope")??e);const s=(t,e)=>n.getPropertyValue(t).trim()||e;const o=t("canvas",{
width:1,height:1}).getContext("2d",{willReadFrequently:true});o.fillStyle="#ffffff";o.fillStyle=n.backgroundColor;o.
fillRect(0,0,1,1);const i=[...o.getImageData(0,0,1,1).data].slice(0,3),a=m(i)<.4;const r=a?f.dark:f.light;return{dark:
a,...r,page:i,text:n.color,muted:s("--mn-muted","#666"),accent:s("--mn-accent","#0b6bcb"),background:n.
backgroundColor,font:s("--mn-font","system-ui, sans-serif"),mono:s("--mn-mono","monospace")}};const w=t=>{const e=
new MutationObserver(()=>requestAnimationFrame(t));for(const t of[document.documentElement,document.body])e.observe(t,
{attributes:true,attributeFilter:["class","style","data-jp-theme-name","data-jp-theme-light",
"data-vscode-theme-kind"]});const n=matchMedia("(prefers-color-scheme: dark)");n.addEventListener("change",t);return(
)=>{e.disconnect();n.removeEventListener("change",t)}};class b{constructor(e){this.canvas=t("canvas",{width:128,
height:8,"aria-hidden":"true"});this.low=t("span");this.middle=t("span");this.high=t("span");this.title=t("div",{
class:"mn-bar-title"});this.element=t("div",{class:"mn-bar",role:"img","data-testid":e},this.title,this.canvas,t(
"div",{class:"mn-bar-ends"},this.low,this.middle,this.high))}update({ramp:t,low:n,middle:s="",high:o,title:i}){
const a=this.canvas.getContext("2d");for(let e=0;e<128;e++){a.fillStyle=u(t(e/127));a.fillRect(e,0,1,8)}e(this.low,n);
e(this.middle,s);e(this.high,o);e(this.title,i);this.element.setAttribute("aria-label",
`Colour scale: ${i}, from ${n} to ${o}`)}}const v=t=>{if(t==="")return"∅";return t.replace(/ /g,"·").replace(/\r?\n/g,
"⏎").replace(/\t/g,"⇥").replace(/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,t=>`‹${t.
codePointAt(0).toString(16).padStart(4,"0")}›`)};const x=(t,e)=>[...t].length>e?[...t].slice(0,e-1).join("")+"…":t;
const y=t=>{if(t===null||t===undefined||Number.isNaN(t))return"no value";if(!Number.isFinite(t))return t>0?"∞":"−∞";
const e=Math.abs(t);const n=e===0?"0":e>=1e5||e<1e-4?e.toExponential(2):e>=100?e.toFixed(1):e>=1?e.toFixed(2):e.
toFixed(3);return(t<0&&Number(n)!==0?"−":"")+n};const $=t=>(t>=.1?(100*t).toFixed(0):t>=.001?(100*t).toFixed(1):
"<0.1")+"%";const k=t=>t.map(t=>typeof t==="string"?`"${t.replace(/"/g,'""')}"`:Number.isNaN(t)?"":String(t)).join(
",")+"\r\n";const M=t=>{let e=0;for(const n of t){const t=Math.abs(n);if(t>e&&Number.isFinite(t))e=t}return e};
const T=(t,{title:e,subtitle:n,bar:s,limit:o,low:i=y(-o)})=>{const a="http://www.w3.org/2000/svg",r=f.light;const l=(
t,e,n)=>{const s=document.createElementNS(a,t);for(const[t,n]of Object.entries(e))s.setAttribute(t,n);if(n!==
undefined)s.textContent=n;return s};const c=t.columnLabels.map(t=>x(t.text,24)),d=Math.max(4,Math.min(26,900/t.
columns)),h=Math.max(4,Math.min(14,600/t.rows));const m=Math.max(1,Math.ceil(11/d)),p=Math.max(1,Math.ceil(11/h)),g=
Math.max(1,...c.map(t=>[...t].length))*6.1,w=g+4>d;const b=46,v=48,$=b+d*t.columns+Math.max(20,g*.55)+70,k=v+h*t.rows+
g*.87+36;const M=l("svg",{xmlns:a,width:Math.ceil($),height:Math.ceil(k),viewBox:`0 0 ${Math.ceil($)} ${Math.ceil(
k)}`,"font-family":"DejaVu Sans, Arial, sans-serif","font-size":10});M.append(l("rect",{width:"100%",height:"100%",
fill:"#ffffff"}),l("text",{x:b,y:18,"font-size":12,"font-weight":"bold"},e),l("text",{x:b,y:34,fill:"#555555"},n));
const T=e=>v+(t.flip?t.rows-1-e:e)*h;for(let e=0;e<t.rows;e++)for(let n=0;n<t.columns;n++)M.append(l("rect",{x:(b+
n*d).toFixed(2),y:T(e).toFixed(2),width:(d+.2).toFixed(2),height:(h+.2).toFixed(2),fill:u(t.colour(e,n,r)??r.
missing)}));M.append(l("rect",{x:b,y:v,width:d*t.columns,height:h*t.rows,fill:"none",stroke:"#888888","stroke-width":
.75}));for(let e=0;e<t.rows;e+=p)M.append(l("text",{x:b-4,y:T(e)+h/2+3.5,"text-anchor":"end"},t.rowLabels[e]));
const S=v+h*t.rows;for(let e=0;e<t.columns;e+=m){const n=b+(e+.5)*d-(w?2:0);M.append(l("text",{transform:
`translate(${n.toFixed(1)} ${S+(w?9:13)})${w?" rotate(60)":""}`,"text-anchor":w?"start":"middle","font-family":
"DejaVu Sans Mono, monospace","font-weight":t.columnLabels[e].strong?"bold":"normal"},c[e]))}M.append(l("text",{
transform:`translate(12 ${v+h*t.rows/2}) rotate(-90)`,"text-anchor":"middle",fill:"#555555"},t.rowTitle),l("text",{x:
b,y:k-8,fill:"#555555"},t.columnTitle));const C=b+d*t.columns+14,L=60,A=Math.min(160,h*t.rows);for(let t=0;t<L;t++)M.
append(l("rect",{x:C,y:v+A*t/L,width:9,height:A/L+.3,fill:u(r.diverging(1-t/(L-1)))}));for(const[t,e]of[[y(o),0],["0",
.5],[i,1]])M.append(l("text",{x:C+13,y:v+A*e+4},t));M.append(l("text",{transform:`translate(${C+50} ${v+
A/2}) rotate(90)`,"text-anchor":"middle",fill:"#555555"},s));return{text:(new XMLSerializer).serializeToString(M),
width:Math.ceil($),height:Math.ceil(k)}};const S=(e,n=3)=>new Promise((s,o)=>{const i=new Image;i.onload=()=>{const o=
t("canvas",{width:e.width*n,height:e.height*n});const a=o.getContext("2d");a.scale(n,n);a.drawImage(i,0,0);o.toBlob(s,
"image/png")};i.onerror=()=>o(new Error("the browser could not draw the figure"));i.src=
"data:image/svg+xml;charset=utf-8,"+encodeURIComponent(e.text)});const C=t=>{if(!t)return new Float32Array(0);const e=
t instanceof ArrayBuffer?new DataView(t):t;const n=e.byteOffset%4?e.buffer.slice(e.byteOffset,e.byteOffset+e.
byteLength):e.buffer;return new Float32Array(n,e.byteOffset%4?0:e.byteOffset,Math.floor(e.byteLength/4))};const L=t=>{
const e=[];return{undo:e,send:(e,n={})=>t.send({type:e,...n}),listen:(n,s)=>{for(const o of n){t.on(`change:${o}`,s);
e.push(()=>t.off(`change:${o}`,s))}},set:e=>{for(const[n,s]of Object.entries(e))t.set(n,s);t.save_changes()}}};
const A=(e,n,s)=>{const o={},a={range:true,number:true};const r=(t,n)=>{const s=typeof e.get(t);return s==="boolean"?
n.checked:s!=="number"?n.value:n.value===""?NaN:Number(n.value)};const l=(t,e)=>{if(t.type==="checkbox")t.checked=e;
else t.value=e};const c=(t,i)=>{o[t]=i;i.setAttribute("data-testid",t);let c,d,h=0;const u=()=>{clearTimeout(d);
const n=h-Date.now();if(n>0){d=setTimeout(u,n);return}if(r(t,i)!==e.get(t)){l(i,e.get(t));i.dispatchEvent(new Event(
"pulled"))}};u();n([t],u);const m=()=>{clearTimeout(c);const n=r(t,i);if(!Number.isNaN(n)&&n!==e.get(t))s({[t]:n})};i.
addEventListener("change",m);if(i.tagName!=="SELECT"&&i.type!=="checkbox")i.addEventListener("input",()=>{
clearTimeout(c);if(a[i.type]){h=Date.now()+700;m()}else c=setTimeout(m,350)});i.flush=m;return i};return{inputs:o,
bound:c,shown:()=>Object.fromEntries(Object.entries(o).map(([t,e])=>[t,r(t,e)]).filter(([,t])=>!Number.isNaN(t))),
flush:()=>{for(const t of Object.values(o))t.flush()},area:(e,n={})=>c(e,t("textarea",{rows:2,spellcheck:"false",
autocapitalize:"off",...n})),line:(e,n)=>c(e,t("input",{type:"text",spellcheck:"false",autocomplete:"off",placeholder:
n})),choose:(e,n)=>c(e,t("select",{},...n.map(([t,e])=>i(t,e))))}};const E=(e,n,s,o="")=>t("button",{type:"button",
class:`mn-button ${o}`,"data-testid":e,text:n,onclick:s});const _={svg:"Figure (SVG)",png:"Figure (PNG)",csv:
"Data (CSV)",save:"Save the labelled data on the kernel’s machine as"};const O=(n,i,{stem:r,figure:l,table:c,example:
d,labels:h={},before:u=[],after:m=[]})=>{const p={..._,...h};const f=t("textarea",{class:"mn-code",readonly:true,rows:
12,spellcheck:"false","aria-label":"Python that reproduces this view","data-testid":"code"});const g=t("input",{type:
"text","data-testid":"path",placeholder:d,spellcheck:"false"});const w=t("div",{class:"mn-note","data-testid":"saved",
role:"status"}),b=t("input",{type:"checkbox","data-testid":"overwrite"});const v=()=>i("save",{path:g.value,overwrite:
b.checked});g.onkeydown=t=>{if(t.key==="Enter")v()};const x=async t=>{const n=t.currentTarget;await o(f.value,f);e(n,
"Copied");setTimeout(()=>e(n,"Copy"),1500)};const y=t("div",{},t("div",{class:"mn-buttons"},...u,E("svg",p.svg,()=>s(
`${r()}.svg`,"image/svg+xml",l().text)),E("png",p.png,async()=>s(`${r()}.png`,"image/png",await S(l()))),E("csv",p.
csv,()=>s(`${r()}.csv`,"text/csv",c())),...m),t("div",{class:"mn-saverow"},a(p.save,g),E("save","Save",v),t("label",{
class:"mn-check"},b,"replace what is there")),w);const $=t("details",{class:"mn-more","data-testid":"export"},t(
"summary",{text:"Export and code"}),y,t("div",{class:"mn-side-head"},t("span",{class:"mn-label",text:
"Python that reproduces this view"}),E("copy","Copy",x,"mn-small")),f);const k=()=>{const t=n.get("saved");e(w,t.
text??"");w.classList.toggle("mn-bad",t.ok===false);f.value=n.get("code");f.rows=f.value.split("\n").length+1};return{
element:$,files:y,draw:k}};const R=(t,e)=>{const{rows:n,columns:s}=t.grid,o=(e,o)=>e>=0&&e<n&&o>=0&&o<s&&t.cone(e,o),{
cw:i,ch:a}=t;e.lineWidth=1;const r=i>=6&&a>=6,l=new Path2D;for(let c=0;c<n;c++)for(let n=0;n<s;n++){if(!o(c,
n))continue;const s=n*i,d=t.y(c),h=t.grid.flip?c+1:c-1,u=t.grid.flip?c-1:c+1;if(r){const o=t.grid.colour?t.grid.
colour(c,n,t.theme)??t.theme.missing:t.theme.missing;e.fillStyle=m(o)>.45?"rgba(0,0,0,.62)":"rgba(255,255,255,.75)";e.
fillRect(s+i/2-1,d+a/2-1,2,2)}if(!o(h,n)){l.moveTo(s,d+.5);l.lineTo(s+i,d+.5)}if(!o(u,n)){l.moveTo(s,d+a-.5);l.lineTo(
s+i,d+a-.5)}if(!o(c,n-1)){l.moveTo(s+.5,d);l.lineTo(s+.5,d+a)}if(!o(c,n+1)){l.moveTo(s+i-.5,d);l.lineTo(s+i-.5,d+
a)}}e.strokeStyle=t.theme.background;e.lineWidth=3;e.stroke(l);e.strokeStyle=t.theme.text;e.lineWidth=1.25;e.stroke(
l)};const H={minWidth:3,maxWidth:46,minHeight:3,maxHeight:22,label:11};class F{constructor({label:e,testid:n,name:s,
hover:o=()=>{},select:i=()=>{},key:a=()=>false}){Object.assign(this,{name:s,onHover:o,onSelect:i,onKey:a});this.focus=
{row:0,column:0};this.hovered=null;this.selected=null;this.cone=null;this.marks=[];this.grid=null;const r=l("cell");
this.cell=t("div",{role:"gridcell",id:r,"data-testid":`${n}-cell`});this.rowLabels=t("canvas",{class:"mn-rows",
"aria-hidden":"true"});this.base=t("canvas",{"aria-hidden":"true"});this.overlay=t("canvas",{class:"mn-overlay",
"aria-hidden":"true"});this.stack=t("div",{class:"mn-stack"},this.base,this.overlay);this.scroller=t("div",{class:
"mn-scroll"},this.stack);this.tip=t("div",{class:"mn-tip","aria-hidden":"true","data-testid":`${n}-tip`,hidden:true});
this.cellRow=t("div",{class:"mn-hidden",role:"row"},this.cell);this.element=t("div",{class:"mn-map",role:"grid",
tabindex:"0","aria-label":e,"aria-activedescendant":r,"aria-readonly":"true","data-testid":n,onkeydown:t=>this.
keydown(t),onfocus:()=>this.showFocus(),onblur:()=>{this.hideTip();this.drawOverlay()}},this.cellRow,this.rowLabels,
this.scroller,this.tip);this.stack.addEventListener("mousemove",t=>this.mousemove(t));this.stack.addEventListener(
"mouseleave",()=>{this.hovered=null;this.hideTip();this.drawOverlay();this.onHover(null)});this.stack.
addEventListener("click",t=>{const e=this.at(t);if(e){this.focus=e;this.element.focus({preventScroll:true});this.
hideTip();this.choose()}})}update(t,e){const n=this.grid;this.grid=t;this.width=e;if(!n||n.rows!==t.rows||n.columns!==
t.columns){this.focus=t.start??{row:t.flip?t.rows-1:0,column:0};this.hovered=null;this.selected=null;this.cone=
null}this.focus={row:Math.min(this.focus.row,t.rows-1),column:Math.min(this.focus.column,t.columns-1)};this.element.
setAttribute("aria-rowcount",t.rows);this.element.setAttribute("aria-colcount",t.columns);this.draw()}layout(){const{
rows:t,columns:e,rowLabels:n,columnLabels:s}=this.grid,o=this.base.getContext("2d");o.font=`${H.label}px ${this.theme.
mono}`;const i=t=>Math.max(0,...t.slice(0,2e3).map(t=>o.measureText(t).width));this.left=Math.ceil(i(n))+(this.grid.
rowTitle?26:10);const a=Math.max(60,this.width-this.left-4);const r=e*t>2e4;this.cw=this.grid.cellWidth??Math.max(r?1:
H.minWidth,Math.min(H.maxWidth,Math.floor(a/e)));if(!this.grid.cellWidth&&e<=400)this.cw=Math.max(this.cw,Math.min(12,
H.maxWidth));this.cw=Math.max(1,Math.min(this.cw,Math.floor(12e3/e)));const l=this.grid.height??430;this.ch=this.grid.
cellHeight??Math.max(r?1:H.minHeight,Math.min(H.maxHeight,Math.floor(l/t)));this.ch=Math.max(1,Math.min(this.ch,Math.
floor(12e3/t)));const c=s.map(t=>x(t.text,20)),d=i(c);this.turned=d+6>this.cw;this.every=this.turned?Math.max(1,Math.
ceil((H.label+2)/this.cw)):1;this.rowEvery=Math.max(1,Math.ceil((H.label+2)/this.ch));this.plotWidth=this.cw*e;this.
plotHeight=this.ch*t;this.lean=this.turned?Math.ceil(d*.5)+8:0;this.bottom=(this.turned?Math.ceil(d*.87)+14:20)+(this.
grid.columnTitle?16:0);this.turnedTexts=c}size(t,e,n){const s=Math.min(window.devicePixelRatio||1,e*n>4e6?1:3);t.
width=Math.max(1,Math.round(e*s));t.height=Math.max(1,Math.round(n*s));t.style.width=`${e}px`;t.style.height=`${n}px`;
const o=t.getContext("2d");o.setTransform(s,0,0,s,0,0);o.clearRect(0,0,e,n);return o}y(t){return(this.grid.flip?this.
grid.rows-1-t:t)*this.ch}draw(){if(!this.grid||!this.element.isConnected)return;this.theme=g(this.element);this.
layout();const{rows:t,columns:e,columnLabels:n,rowLabels:s}=this.grid,{theme:o}=this;const i=this.size(this.base,this.
plotWidth+this.lean,this.plotHeight+this.bottom);this.size(this.overlay,this.plotWidth,this.plotHeight);if(this.grid.
image){i.imageSmoothingEnabled=false;i.drawImage(this.grid.image(o),0,0,this.plotWidth,this.plotHeight)}else this.
drawCells(i);i.strokeStyle=o.muted;i.globalAlpha=.5;i.lineWidth=1;i.strokeRect(.5,.5,this.plotWidth-1,this.plotHeight-
1);i.globalAlpha=1;i.textBaseline="middle";for(let t=0;t<e;t+=this.every){const{strong:e}=n[t],s=(t+.5)*this.cw;i.
font=`${e?"bold ":""}${H.label}px ${o.mono}`;i.fillStyle=e?o.accent:o.text;i.save();if(this.turned){i.translate(s-2,
this.plotHeight+6);i.rotate(Math.PI/3);i.textAlign="left"}else{i.translate(s,this.plotHeight+10);i.textAlign=
"center"}i.fillText(this.turnedTexts[t],0,0);i.restore()}i.fillStyle=o.muted;i.font=`${H.label}px ${o.font}`;if(this.
grid.columnTitle){i.textAlign="left";i.fillText(this.grid.columnTitle,0,this.plotHeight+this.bottom-8)}const a=this.
size(this.rowLabels,this.left,this.plotHeight+this.bottom);a.textAlign="right";a.textBaseline="middle";a.fillStyle=o.
text;a.font=`${H.label}px ${o.mono}`;for(let e=0;e<t;e+=this.rowEvery)a.fillText(s[e],this.left-5,this.y(e)+this.
ch/2);if(this.grid.rowTitle){a.save();a.translate(8,this.plotHeight/2);a.rotate(-Math.PI/2);a.textAlign="center";a.
fillStyle=o.muted;a.font=`${H.label}px ${o.font}`;a.fillText(this.grid.rowTitle,0,0);a.restore()}this.drawOverlay();
this.announce()}drawCells(e){const{rows:n,columns:s,colour:o}=this.grid,i=t("canvas",{width:s,height:n}),a=i.
getContext("2d");const r=a.createImageData(s,n),l=[];for(let t=0;t<n;t++)for(let e=0;e<s;e++){const i=o(t,e,this.
theme),a=4*((this.grid.flip?n-1-t:t)*s+e),[c,d,h]=i??this.theme.missing;if(!i&&l.length<2e4)l.push([t,e]);r.data[a]=c;
r.data[a+1]=d;r.data[a+2]=h;r.data[a+3]=255}a.putImageData(r,0,0);e.imageSmoothingEnabled=false;e.drawImage(i,0,0,
this.plotWidth,this.plotHeight);if(this.cw<5||this.ch<5)return;e.strokeStyle=this.theme.background;e.globalAlpha=.55;
e.lineWidth=1.5;e.beginPath();for(const[t,n]of l){const s=n*this.cw,o=this.y(t);e.moveTo(s,o+this.ch);e.lineTo(s+this.
cw,o)}e.stroke();e.globalAlpha=1}drawOverlay(){if(!this.grid||!this.cw)return;const t=this.overlay.getContext("2d"),{
cw:e,ch:n,theme:s}=this;t.clearRect(0,0,this.plotWidth,this.plotHeight);if(this.cone)R(this,t);const o=(o,i,a,r=[])=>{
if(!o)return;const l=o.column*e,c=this.y(o.row);t.setLineDash(r);for(const[o,r]of[[s.background,2],[i,0]]){t.
strokeStyle=o;t.lineWidth=a+r;t.strokeRect(l+1,c+1,Math.max(e-2,1),Math.max(n-2,1))}t.setLineDash([])};for(
const o of this.marks){const i=o.column*e+e/2,a=this.y(o.row)+n/2,r=Math.max(2,Math.min(4,e/4,n/4));t.beginPath();t.
arc(i,a,r,0,7);t.fillStyle=s.background;t.fill();t.lineWidth=1.5;t.strokeStyle=s.text;t.stroke()}o(this.hovered,s.
text,1);o(this.linked,s.text,1,[3,2]);if(document.activeElement===this.element)o(this.focus,s.accent,2,[4,2]);o(this.
selected,s.text,2.5)}at(t){if(!this.grid)return null;const e=this.overlay.getBoundingClientRect(),n=Math.floor((t.
clientX-e.left)/this.cw),s=Math.floor((t.clientY-e.top)/this.ch);if(n<0||n>=this.grid.columns||s<0||s>=this.grid.
rows)return null;return{row:this.grid.flip?this.grid.rows-1-s:s,column:n}}mousemove(t){const e=this.at(t);if(e&&this.
hovered&&e.row===this.hovered.row&&e.column===this.hovered.column)return;this.hovered=e;this.drawOverlay();this.
onHover(e);if(e)this.showTip(e);else this.hideTip()}showTip(e){if(!this.grid.tip)return;const n=this.grid.tip(e.row,e.
column);this.tip.replaceChildren(...n.map(([e,n])=>t("div",{},e?t("span",{class:"mn-tip-label",text:`${e} `}):null,t(
"span",{text:n}))));this.tip.hidden=false;const s=this.element.getBoundingClientRect(),o=this.overlay.
getBoundingClientRect();const i=o.left-s.left+(e.column+1)*this.cw+8,a=o.top-s.top+this.y(e.row)+this.ch+6;const r=i+
this.tip.offsetWidth>s.width?i-this.cw-this.tip.offsetWidth-16:i;const l=a+this.tip.offsetHeight>s.height?a-this.ch-
this.tip.offsetHeight-12:a;this.tip.style.left=`${Math.max(0,r)}px`;this.tip.style.top=`${Math.max(0,l)}px`}hideTip(){
this.tip.hidden=true}showFocus(){this.drawOverlay();this.announce()}announce(){const{row:t,column:e}=this.focus;this.
cellRow.setAttribute("aria-rowindex",(this.grid.flip?this.grid.rows-1-t:t)+1);this.cell.setAttribute("aria-colindex",
e+1);this.cell.setAttribute("aria-selected",String(!!this.selected&&this.selected.row===t&&this.selected.column===e));
const n=this.name(t,e);this.cell.setAttribute("aria-label",n)}choose(){this.selected={...this.focus};this.onSelect(
this.selected);this.drawOverlay();this.announce()}keydown(t){if(!this.grid||t.ctrlKey||t.altKey||t.metaKey)return;
const e=this.grid.flip?1:-1,{rows:n,columns:s}=this.grid,o={...this.focus};const i={ArrowUp:[e,0],ArrowDown:[-e,0],
ArrowLeft:[0,-1],ArrowRight:[0,1],PageUp:[5*e,0],PageDown:[-5*e,0],Home:[0,-s],End:[0,s]};if(t.key in i){o.row+=i[t.
key][0];o.column+=i[t.key][1]}else if(t.key==="Enter"||t.key===" "){this.choose()}else if(t.key==="Escape"){this.
hideTip();return}else{if(this.onKey(t.key,this.focus)){t.preventDefault();t.stopPropagation()}return}t.preventDefault(
);t.stopPropagation();this.focus={row:Math.min(n-1,Math.max(0,o.row)),column:Math.min(s-1,Math.max(0,o.column))};this.
reveal();this.drawOverlay();this.announce();this.onHover(this.focus);this.showTip(this.focus)}reveal(){const t=this.
focus.column*this.cw,e=this.scroller;if(t<e.scrollLeft)e.scrollLeft=t-20;else if(t+this.cw>e.scrollLeft+e.
clientWidth)e.scrollLeft=t+this.cw-e.clientWidth+20;const n=this.y(this.focus.row);if(n<e.scrollTop)e.scrollTop=n;
else if(n+this.ch>e.scrollTop+e.clientHeight&&e.scrollHeight>e.clientHeight)e.scrollTop=n+this.ch-e.
clientHeight}}const N=(e,{send:n,listen:s})=>{const o=t("select",{"data-testid":"examples","aria-label":
"Example shown",onchange:()=>n("example",{number:Number(o.value)})});const a=t("label",{class:"mn-examples"},t("span",
{class:"mn-note",text:"Example"}),o);const r=()=>{const{names:t=[],own:n=false,chosen:s=null}=e.get("examples");a.
hidden=t.length+n<1||t.length===1&&!n&&s===0;o.replaceChildren(...s===null?[i("","choose one …")]:[],...t.map((t,e)=>
i(String(e),t)),...n?[i("-1","your last input")]:[]);o.value=s===null?"":String(s)};s(["examples"],r);r();return a};
const W=(n,s,{send:o,listen:i},{start:a,label:r,help:l,stop:c,unit:d})=>{const h=t("button",{class:
"mn-button mn-primary",type:"button","data-testid":"run",text:r,title:`${l} (Ctrl+Enter)`,onclick:a});const u=t(
"button",{class:"mn-button",type:"button","data-testid":"stop",text:"Stop",title:c,onclick:()=>o("stop")});const m=t(
"div",{class:"mn-progress-fill"}),p=t("span",{class:"mn-note","data-testid":"progress",role:"status"});const f=t(
"div",{class:"mn-progress",role:"progressbar","aria-label":d,"aria-valuemin":0,"aria-valuemax":100},m);const g=t(
"div",{class:"mn-error",role:"alert","data-testid":"error",hidden:true});const w=()=>{const o=n.get("status"),i=n.get(
"progress"),a=i.total?Math.round(100*i.done/i.total):0,r=n.get("error");u.disabled=o!=="running";s.setAttribute(
"data-status",o);f.hidden=o!=="running"&&o!=="stopping";m.style.width=`${a}%`;f.setAttribute("aria-valuenow",a);e(p,i.
text??"");g.hidden=!r.text;g.replaceChildren(...r.text?[t("strong",{text:r.title}),t("pre",{text:r.text})]:[])};i([
"status","progress","error"],w);w();const b=t("div",{class:"mn-run"},h,u,t("div",{class:"mn-status"},f,p));return{run:
h,row:b,error:g}};const P=(e,{title:s,testid:o,name:i,kind:a,data:r,start:l,label:h="Run",help:u,stop:m,unit:p})=>{
const f=L(e);const b=t("span",{class:"mn-chip","data-testid":"model",text:r??e.get("model_info").text});const v=t(
"div",{class:`mnemoscope ${a}`,"data-testid":o,"data-lm-suppress-shortcuts":"true",role:"region","aria-label":i});
const{run:x,row:y,error:$}=W(e,v,f,{start:l,label:h,help:u,stop:m,unit:p});v.addEventListener("keydown",t=>{if(t.
key!=="Enter"||!(t.ctrlKey||t.metaKey))return;t.preventDefault();t.stopPropagation();x.click()});const k=(o,{parts:i,
drawer:a,box:r,draw:l})=>{const h=t("header",{class:"mn-header"},t("h2",{text:s}),t("div",{class:"mn-about"},N(e,f),
b));v.append(h,...i.filter(t=>t),a.element);c(o,v);const u=()=>{v.setAttribute("data-dark",g(v).dark);l()};f.listen([
"saved","code"],a.draw);f.undo.push(w(u),n(v,r,u),d(e.get("static_key")));a.draw();return()=>{for(const t of f.undo)t(
)}};return{...f,root:v,line:b,run:x,row:y,error:$,open:k}};const z=(t,e)=>t.status!==undefined&&t.run===e;const j=([e,
n,s])=>t("tr",{},t("th",{scope:"row",text:String(e)}),...[n,s].map(e=>t("td",{class:"mn-number",text:y(e)})));const D=
(e,n)=>{if(!z(e,n))return[];const s=t("p",{class:"mn-note",text:e.text});if(!e.rows)return[s];const o=["Layer",
"Other prompt changes","Last token carries"];const i=t("tr",{},...o.map(e=>t("th",{scope:"col",text:e})));const a=t(
"table",{},t("thead",{},i),t("tbody",{},...e.rows.map(j)));return[s,t("details",{},t("summary",{text:
"Effects by layer"}),a)]};const I={head:["z","q","k","v","pattern"],expert:["router","expert"]};const B={normalized:{
label:"normalized effect",unit:t=>`normalized effect (0 = ${t.base_name}, 1 = ${t.source_name} run)`},effect:{label:
"effect",unit:t=>`effect: change of ${t.metric}`},value:{label:"metric value",unit:t=>`${t.
metric} under the edit (white = ${t.base_name} run)`}};const K=t=>{if(!t?.shape)return null;const e={...t};for(
const n of["value","effect","normalized"])e[n]=C(t[n]);e.index=(e,n)=>e*t.shape[1]+n;e.get=(t,n,s)=>e[t][e.index(n,
s)];return e};const U=t=>t.column_name!=="position";const V=(t,e,n)=>`layer ${t.rows[e]}, ${t.column_name} ${t.
columns[n]}`;const q=(t,e)=>{if(U(t))return[];const[n,s]=[t.clean_tokens[e]??"",t.corrupted_tokens[e]??""];return n===
s?[["token",v(n)]]:[["clean",v(n)],["corrupted",v(s)]]};const X=t=>{let e=`layer,${t.
column_name},token_clean,token_corrupted,value,effect,normalized\r\n`;for(let n=0;n<t.shape[0];n++)for(let s=0;s<t.
shape[1];s++)e+=k([t.rows[n],t.columns[s],U(t)?"":t.clean_tokens[s]??"",U(t)?"":t.corrupted_tokens[s]??"",t.get(
"value",n,s),t.get("effect",n,s),t.get("normalized",n,s)]);return e};const Y=(t,e,n)=>{const s=t.columns.map((e,n)=>{
if(U(t))return{text:String(e)};const[s,o]=[t.clean_tokens[n]??"",t.corrupted_tokens[n]??""];return{text:s===o?v(s):
`${x(v(s),10)}|${x(v(o),10)}`,strong:s!==o}});return{rows:t.shape[0],columns:t.shape[1],rowLabels:t.rows.map(String),
columnLabels:s,rowTitle:"layer",columnTitle:U(t)?t.column_name:"token (clean|corrupted where they differ)",flip:true,
colour:(s,o,i)=>{const a=e(t.index(s,o));return Number.isNaN(a)?null:i.diverging(.5+a/n/2)},tip:(e,n)=>[["",V(t,e,n)],
...q(t,n),[t.metric,y(t.get("value",e,n))],["effect",y(t.get("effect",e,n))],["normalized",y(t.get("normalized",e,
n))]]}};const G=t=>`${t.name} · ${t.site} · layer × ${t.column_name} · ${t.metric} · ${t.direction}`+`${t.method===
"exact"?"":` · ${t.method}`}${t.complete?"":" · partial"}`;const Q=(e,n,s)=>t("div",{class:"mn-predictions"},t("h4",{
text:e}),t("ol",{},...n.map(([e,n])=>{const[o,i,a=""]=s.get(e)??[];return t("li",{},t("span",{class:"mn-p-bar",style:
`width:${(100*n).toFixed(1)}%`}),t("code",{text:x(v(e),18),title:v(e)}),o?t("span",{class:`mn-tag ${a}`,text:o,title:
i,"aria-label":i}):null,t("span",{class:"mn-p",text:$(n)}))})));const J={strongest:"strongest first",different:
"most different first"};const Z=t=>t===null||t===undefined?"—":t===0?"off":y(t);const tt=(t,e)=>t.status!==undefined&&
["run","layer","column"].every(n=>t[n]===e[n]);const et=(e,n,...s)=>t("section",{class:"mn-readout","data-testid":e,
"aria-label":n},t("h3",{text:n}),...s);const nt=e=>t("p",{class:"mn-note",text:e});const st=(e,n)=>{if(e.
note)return et("lens",e.title,nt(e.note));const s=new Map([[n.foil,["F","foil","mn-foil"]],[n.answer,["A",
"answer"]]]);const o=e.columns.map(([t,e])=>Q(t,e,s));return et("lens",e.title,t("div",{class:"mn-columns mn-pairs"},
...o))};const ot=(e,n)=>{const s=Math.max(1e-9,...e.flatMap(t=>t.slice(2).map(t=>Math.abs(t??0))));const o=e=>t("td",{
class:"mn-number mn-value"},t("span",{class:"mn-p-bar",style:`width:${(94*Math.abs(e??0)/s).toFixed(1)}%`}),t("span",{
text:Z(e)}));return e.map(([e,s,i,a])=>t("tr",{"data-feature":e},t("th",{scope:"row",text:String(e)}),...n?[t("td",{
class:"mn-label",text:s||"—",title:s})]:[],o(i),o(a)))};const it=(e,n)=>{const s=e.more?[nt(e.more)]:[];if(e.
note)return et("features",e.title,...s,nt(e.note));const o=t("tbody",{},...ot(e[n.order],e.labelled));const a=t(
"select",{"data-testid":"feature-order","aria-label":"Order of the features",onchange:()=>{n.order=a.value;o.
replaceChildren(...ot(e[n.order],e.labelled))}},...Object.entries(J).map(([t,e])=>i(t,e)));a.value=n.order;const r=[
"feature",...e.labelled?["label"]:[],"clean run","corrupted run"];const[l,c]=e.error.map($);return et("features",e.
title,...s,a,t("table",{},t("thead",{},t("tr",{},...r.map(e=>t("th",{scope:"col",text:e})))),o),nt(`active: ${e.l0.
join(" and ")} (clean and corrupted run); what they leave: ${l} and ${c} of the`+" activation's length"+(e.labelled?
"":" · the dictionary has no labels")))};const at=(e,n,s)=>{if(!tt(e,n))return[];if(e.status==="running")return[nt(
"Reading the stream here …")];if(e.status==="error")return[t("pre",{class:"mn-error",role:"alert",text:e.text})];
return[...e.lens?[st(e.lens,n)]:[],...e.features?[it(e.features,s)]:[]]};const rt=(t,e,n)=>Q(t,e,new Map([[n.foil,[
"F","foil","mn-foil"]],[n.answer,["A","answer"]]]));const lt=(e,n)=>{const s=[["clean token",e.clean_token],[
"corrupted token",e.corrupted_token]].filter(([,t])=>t!==undefined&&t!==null).map(([t,e])=>[t,v(e)]);for(const t of[
"value","effect","normalized"])s.push([t==="value"?e.metric:t,y(e[t])]);return[t("div",{class:"mn-side-head"},t("h3",{
text:`${e.site} · layer ${e.layer}, ${e.column_name} ${e.column}`}),t("button",{type:"button",class:"mn-button",
"data-testid":"pin",text:"Pin (P)",onclick:n})),t("dl",{class:"mn-facts"},...s.flatMap(([e,n])=>[t("dt",{text:e}),t(
"dd",{text:n})])),e.status==="error"?t("pre",{class:"mn-error",role:"alert",text:e.text}):e.status==="running"?t("p",{
class:"mn-note",text:"Running this one edit …"}):t("div",{class:"mn-columns","data-testid":"predictions"},rt(
"clean run",e.clean,e),rt("corrupted run",e.corrupted,e),rt(`${e.base_name} + edit`,e.edited,e),t("p",{class:
"mn-note mn-key",text:`most likely next tokens · A answer${e.foil?" · F foil":""}`}))]};const ct=(e,n)=>t("div",{
class:"mn-tablebox"},t("table",{},t("thead",{},t("tr",{},...e.map(e=>t("th",{scope:"col",text:e})))),t("tbody",{},
...n)));const dt=(e,n,s)=>t("button",{type:"button",class:"mn-button mn-small",text:e,"aria-label":n,title:n,onclick:
s});const ht=(e,{show:n,remove:s})=>ct(["cell","run","clean | corrupted","value","effect","normalized",
"top predictions under the edit",""],e.map(e=>t("tr",{},t("td",{text:`layer ${e.layer}, ${e.column_name} ${e.
column}`}),t("td",{text:e.name}),t("td",{},t("code",{text:e.clean_token===undefined||e.clean_token===null?
"all positions":e.clean_token===e.corrupted_token?v(e.clean_token):`${v(e.clean_token)} | ${v(e.corrupted_token)}`})),
...["value","effect","normalized"].map(n=>t("td",{class:"mn-number",text:y(e[n])})),t("td",{},t("code",{text:(e.
edited??[]).slice(0,3).map(([t,e])=>`${x(v(t),14)} ${$(e)}`).join("   ")||"…"})),t("td",{},dt("Show",`Show layer ${e.
layer}, ${e.column_name} ${e.column}`,()=>n(e)),dt("×",`Remove the pin of layer ${e.layer}, ${e.column_name} ${e.
column}`,()=>s(e))))));const ut=(e,n,s,{show:o,rename:i,forget:a})=>ct(["","name","what","status",""],e.map(e=>t("tr",
{class:e.run===n?"mn-current":null,"data-run":e.run},t("td",{},t("input",{type:"radio",name:s,checked:e.run===n,
"aria-label":`Show ${e.name}`,onchange:()=>o(e.run)})),t("td",{},t("input",{type:"text",value:e.name,"aria-label":
`Name of run ${e.run}`,onchange:t=>i(e.run,t.target.value)})),t("td",{text:e.what}),t("td",{text:e.status}),t("td",{},
dt("×",`Forget ${e.name}`,()=>a(e.run))))));function mt({model:n,el:s}){const o=P(n,{title:"Patch explorer",testid:
"patch-explorer",name:"Patch explorer",kind:"mn-explorer",help:"Run this sweep",stop:
"Stop after the layer in progress; finished layers stay",unit:"Layers computed",start:()=>{g();r("run",{fields:f(
)})}});const{send:r,listen:c,set:d,root:h,row:u,error:m}=o;const{inputs:p,shown:f,flush:g,area:w,line:v,choose:x}=A(n,
c,d);const $=t=>t.map(t=>[t,t]);const k=t("div",{class:"mn-note","data-testid":"alignment"});const S=t("div",{class:
"mn-form"},a("Clean prompt",w("clean")),a("Corrupted prompt",w("corrupted")),t("div",{class:"mn-pair"},a(
"Answer (after clean)",v("answer","e.g. “ Paris”, with its space")),a("Foil (after corrupted)",v("foil",
"optional for prob, logprob, rank, kl"))),t("div",{class:"mn-pair"},a("Text before both prompts",v("start",
"none, e.g. <|endoftext|>")),k));const C=t("div",{class:"mn-controls"},a("Site",x("site",$(n.get("sites")))),a("Map",
x("over",n.get("overs").map(t=>[t,`layer × ${t}`]))),a("Metric",x("metric",$(n.get("metrics")))),a("Direction",x(
"direction",[["denoise","denoise: clean → corrupted run"],["noise","noise: corrupted → clean run"]])),a("Method",x(
"method",[["exact","exact"],["attribution","attribution (AtP)"]])),u);const L=t("div",{class:"mn-warning",
"data-testid":"warning",hidden:true});let E=null,_=null;const R=t("div",{class:"mn-caption","data-testid":"caption"});
const H=t("select",{"data-testid":"show","aria-label":"Quantity shown"},...Object.entries(B).map(([t,e])=>i(t,e.
label)));const N=t("select",{"data-testid":"scale","aria-label":"Colour scale"},i("auto","scale: largest value"),i(
"one","scale: −1 to 1"));H.value=n.get("show");H.onchange=()=>d({show:H.value});N.onchange=()=>yt();const W=t("input",
{type:"checkbox","data-testid":"cone",checked:true,onchange:()=>yt()});const z=t("select",{"data-testid":
"compare-mode","aria-label":"Compare with another run"},i("off","compare: off"),i("side","side by side with"),i(
"difference","minus"));const j=t("select",{"data-testid":"compare-run","aria-label":"Run to compare with"});const Q=(
)=>d({compare:{mode:z.value,run:Number(j.value)||0}});z.onchange=Q;j.onchange=Q;const J=new b("colour-bar");const Z=
t=>(e,n)=>{const s=t();if(!s)return"";return[V(s,e,n),...q(s,n).map(([t,e])=>`${t} ${e}`),`value ${y(s.get("value",e,
n))}`,`effect ${y(s.get("effect",e,n))}`,`normalized ${y(s.get("normalized",e,n))}`].join(", ")};const tt=t=>e=>{
const n=t();if(n)d({cell:{run:n.run,layer:n.rows[e.row],column:n.columns[e.column]}})};const et=t=>(e,n)=>{const s=t(
);if(e.toLowerCase()!=="p"||!s)return false;r("pin",{run:s.run,layer:s.rows[n.row],column:s.columns[n.column]});
return true};const nt=t=>e=>{if(t.grid){t.linked=e;t.drawOverlay()}};const st=new F({label:
"Patching effect by layer and position. Arrow keys move, Enter explains a cell, P pins it.",testid:"map",name:Z(()=>
E),select:tt(()=>E),key:et(()=>E),hover:t=>nt(ot)(t)});const ot=new F({label:"The other run's patching effect",testid:
"other-map",name:Z(()=>_),select:tt(()=>_),key:et(()=>_),hover:t=>nt(st)(t)});const it=t("div",{class:"mn-empty",
"data-testid":"empty"},t("strong",{text:"No sweep yet"}),t("p",{text:
"Run copies one activation at a time from one run into the other and measures how far the answer "+
"moves. Layers fill in from the last to the first; each cell can be hovered and clicked as soon as "+
"it is there."}));const rt=t("div",{class:"mn-caption",hidden:true}),ct=t("div",{class:"mn-caption"}),dt=t("div",{
class:"mn-second",hidden:true},ct,ot.element);const mt=t("div",{class:"mn-toolbar"},H,N,t("label",{class:"mn-check"},
W,"causal cone"),z,j,t("button",{type:"button","data-testid":"measure-depth",text:"Depth",onclick:()=>r("depth")}),J.
element);const pt=t("section",{"data-testid":"depth","aria-label":"Depth of reading","aria-live":"polite"});const ft=
t("div",{class:"mn-maps"},t("div",{class:"mn-first"},rt,st.element),dt);const gt=t("section",{class:"mn-mapbox",
"aria-label":"Heat map"},R,mt,it,ft,pt);const wt=t("section",{class:"mn-side","data-testid":"side","aria-label":
"Selected cell","aria-live":"polite"});const bt=t=>N.value==="one"?1:Math.max(...t.map(M))||1;const vt=(t,e)=>e===
"value"?t.effect:t[e];let xt=null;const yt=()=>{if(!h.isConnected)return;const t=n.get("compare"),s=!!E;it.hidden=s;
st.element.hidden=!s;mt.hidden=!s;Ft.element.hidden=!s;if(!s){e(R,"");ot.element.hidden=true;dt.hidden=true;
return}const o=n.get("show"),i=B[o],a=_&&t.mode!=="off";const r=a&&_.shape.join()===E.shape.join()&&_.column_name===E.
column_name;const l=r&&t.mode==="difference",c=a&&(t.mode==="side"||!r);const d=[vt(E,o)];if(a)d.push(vt(_,o));let u=
t=>d[0][t],m=bt(d);if(l){u=t=>d[0][t]-d[1][t];m=N.value==="one"?1:M(d[0].map((t,e)=>t-d[1][e]))||1}const p=gt.
clientWidth||600,f=c&&p>760?(p-24)/2:p;ft.classList.toggle("mn-two",c&&p>760);dt.hidden=ot.element.hidden=rt.hidden=
!c;const g=Y(E,u,m);if(l){const t=g.tip;g.tip=(e,n)=>[...t(e,n),[`${i.label} minus ${_.name}`,y(u(E.index(e,
n)))]]}const w=n.get("cell"),b=w.run===undefined?null:{row:E.rows.indexOf(w.layer),column:E.columns.indexOf(w.
column)};st.update(g,f);st.selected=b&&b.row>=0&&b.column>=0&&(w.run===E.run||l)?b:null;st.cone=st.selected&&W.
checked?(t,e)=>E.rows[t]>E.rows[b.row]&&(U(E)||e>=b.column):null;st.marks=n.get("pins").filter(t=>t.run===E.run).map(
t=>({row:E.rows.indexOf(t.layer),column:E.columns.indexOf(t.column)})).filter(t=>t.row>=0&&t.column>=0);st.
drawOverlay();st.announce();if(c){ot.update(Y(_,t=>d[1][t],m),f);e(rt,E.name);e(ct,G(_)+(r?"":
" · another shape, so there is no difference to show"))}const v=l?`${E.name} minus ${_.name} · ${G(E)}`:G(E);e(R,
`${v} · clean ${y(E.clean)}, corrupted ${y(E.corrupted)}`);const x=o==="value"&&!l?E.base??0:0,$=st.theme;const k=l?
`difference of ${i.label}`:i.unit(E);J.update({ramp:$.diverging,low:y(x-m),middle:y(x),high:y(x+m),title:k});xt=()=>T(
g,{title:`${E.model}: ${E.site}, layer × ${E.column_name}`,subtitle:`${E.metric}, ${E.direction}; clean ${y(E.
clean)}, corrupted ${y(E.corrupted)}`,bar:l?k:i.label,limit:m})};const $t=()=>pt.replaceChildren(...D(n.get("depth"),
E?.run));const kt=()=>{E=K(n.get("map"));_=K(n.get("other"));yt()};const Mt={order:"strongest"};const Tt=t("div",{
"aria-live":"polite"});const St=()=>Tt.replaceChildren(...at(n.get("readout"),n.get("detail"),Mt));const Ct=()=>{
const e=n.get("detail");if(e.layer===undefined){wt.replaceChildren(t("h3",{text:"Selected cell"}),t("p",{class:
"mn-note",text:"Click a cell, or move with the arrow keys and press Enter, to see what the model predicts "+
"under that edit beside both unedited runs. P pins a cell."}));wt.removeAttribute("data-cell");return}wt.setAttribute(
"data-cell",`${e.layer},${e.column}`);wt.setAttribute("data-status",e.status);const s=()=>r("pin",{run:e.run,layer:e.
layer,column:e.column});wt.replaceChildren(...lt(e,s),Tt);St()};const Lt=(e,n)=>t("summary",{},`${e} `,t("span",{
class:"mn-note",text:`(${n})`}));const At=t("details",{"data-testid":"pins",class:"mn-more",open:true}),Et=t(
"details",{"data-testid":"runs",class:"mn-more",open:true});const _t=()=>{const t=n.get("pins");At.hidden=!t.length;
At.replaceChildren(Lt("Pinned cells",t.length),ht(t,{show:t=>d({cell:{run:t.run,layer:t.layer,column:t.column}}),
remove:t=>r("unpin",{id:t.id})}));yt()};const Ot=()=>{const t=n.get("history"),e=E?.run;Et.hidden=!t.length;Et.
replaceChildren(Lt("Runs",t.length),ut(t,e,Rt,{show:t=>r("show",{run:t}),rename:(t,e)=>r("rename",{run:t,name:e}),
forget:t=>r("forget",{run:t})}));const s=t.filter(t=>t.run!==e),o=n.get("compare");j.replaceChildren(...s.map(t=>i(
String(t.run),t.name)));z.hidden=!s.length;j.hidden=!s.length;z.value=o.mode??"off";if(s.some(t=>t.run===o.run))j.
value=String(o.run)};const Rt=l("runs"),Ht=()=>`${E.site}_${E.column_name}_${E.metric}_run${E.run}`;const Ft=O(n,r,{
stem:Ht,figure:()=>xt(),table:()=>X(E),example:"trace.zarr, trace.nc, trace.csv, trace.parquet"});const Nt=()=>{
const t=n.get("warning");L.hidden=!t;e(L,t)};const Wt=()=>{const t=n.get("alignment");e(k,t.text??"");k.classList.
toggle("mn-bad",t.ok===false)};const Pt=()=>{const t=I[n.get("over")];for(const e of p.site.options)e.disabled=t!==
undefined&&!t.includes(e.value);if(t&&!t.includes(n.get("site")))d({site:t[0]})};c(["map","other"],()=>{kt();Ot();$t(
)});c(["depth"],$t);c(["show","cell","compare"],()=>{H.value=n.get("show");yt();Ot()});c(["detail"],Ct);c(["readout"],
St);c(["pins"],_t);c(["history"],Ot);c(["status","progress","error","warning"],Nt);c(["alignment"],Wt);c(["over"],Pt);
const zt=o.open(s,{parts:[S,C,m,L,t("div",{class:"mn-body"},gt,wt),At,Et],drawer:Ft,box:gt,draw:yt});kt();Ct();_t();
Ot();Nt();Wt();Pt();$t();return zt}var pt={render:mt};export{pt as default};
