// Built by npm run build from 13 files, sha256 798067044bc52b95c165c9dfd6da61610e703078e9dff1c672accc6b5c6f927a
const t=(t,e={},...s)=>{const n=document.createElement(t);for(const[t,s]of Object.entries(e)){if(s===null||s===
undefined||s===false)continue;if(t==="text")n.textContent=s;else if(t.startsWith("on"))n.addEventListener(t.slice(2),
s);else if(t==="value")n.value=s;else n.setAttribute(t,s===true?"":s)}n.append(...s.filter(t=>t!==null&&t!==
undefined));if(n.matches("input, select, textarea, button, summary, [tabindex]"))n.setAttribute(
"data-lm-suppress-shortcuts","true");return n};const e=(t,e)=>{if(t.textContent!==e)t.textContent=e};const s=(t,e,s)=>
{let n=0;const i=new ResizeObserver(()=>{const i=t.isConnected?e.clientWidth:0,a=Math.abs(i-n)>4;n=i;if(!i)return;if(
a)s();t.setAttribute("data-ready","true")});i.observe(e);return()=>i.disconnect()};const n=(e,s,n)=>{const i=URL.
createObjectURL(n instanceof Blob?n:new Blob([n],{type:s}));const a=t("a",{href:i,download:e});document.body.append(
a);a.click();a.remove();setTimeout(()=>URL.revokeObjectURL(i),1e4)};const i=async(t,e)=>{try{await navigator.
clipboard.writeText(t)}catch{e.focus();e.select();document.execCommand("copy")}};const a=(e,s)=>t("option",{value:e,
text:s});const o=(e,s,n)=>t("label",{class:"mn-field"},t("span",{class:"mn-label",text:e}),s,null);let r=0;const l=t=>
`mn-${t}-${++r}-${Math.random().toString(36).slice(2,7)}`;const c=(t,e)=>{t.append(e);e.addEventListener(
"pointerdown",t=>{const e=t.button===0&&t.target.closest("button");if(!e||e.disabled)return;const s=n=>{if(n.
pointerId!==t.pointerId)return;document.removeEventListener("pointerup",s,true);document.removeEventListener(
"pointercancel",s,true);const i=Math.hypot(n.clientX-t.clientX,n.clientY-t.clientY)<6;if(n.type==="pointerup"&&i&&!e.
contains(n.target)&&e.isConnected)e.click()};document.addEventListener("pointerup",s,true);document.addEventListener(
"pointercancel",s,true)})};const d=e=>{if(!e||!/^[\w-]+$/.test(e))return()=>{};const s=t("style",{text:
`.jp-OutputArea-child:has(.mnemoscope-static-${e}), .mnemoscope-static-${e} { display: none `+`!important; }`});
document.head.append(s);return()=>s.remove()};const h=t=>{if(t==="")return"∅";return t.replace(/ /g,"·").replace(
/\r?\n/g,"⏎").replace(/\t/g,"⇥").replace(/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
t=>`‹${t.codePointAt(0).toString(16).padStart(4,"0")}›`)};const m=(t,e)=>[...t].length>e?[...t].slice(0,e-1).join("")+
"…":t;const u=t=>t.map(t=>typeof t==="string"?`"${t.replace(/"/g,'""')}"`:Number.isNaN(t)?"":String(t)).join(",")+
"\r\n";const p=t=>t===null||t===undefined||Number.isNaN(t);const f=(t,e)=>`${t.toLocaleString("en")} ${e}${t===1?"":
"s"}`;const g=t=>{if(p(t))return"–";const e=Math.abs(t);return(e&&(e<1e-4||e>=1e6)?t.toExponential(1):String(Number(t.
toPrecision(3)))).replace(/-/g,"−")};const w=t=>p(t)?"–":`${g(100*t)} %`;const b=(t,e,s=g)=>p(t)||p(e)?"":`${s(
t)} to ${s(e)}`;const y=t=>h(t).replace(/·/g," ");const v={other:"#b35900"};const x=(t,e={},...s)=>{const n=document.
createElementNS("http://www.w3.org/2000/svg",t);for(const[t,s]of Object.entries(e))if(!p(s))n.setAttribute(t,s);n.
append(...s);return n};const k=t=>({text:(new XMLSerializer).serializeToString(t),width:Number(t.getAttribute(
"width")),height:Number(t.getAttribute("height"))});const $=(...e)=>t("thead",{},t("tr",{},...e.map(e=>t("th",{scope:
"col",text:e}))));const M=(e,s,n)=>t("div",{class:"mn-tablebox"},t("table",{class:"mn-table","data-testid":e},$(...s),
t("tbody",{},...n.map(([e,...s])=>t("tr",{},t("th",{scope:"row",text:e}),...s.map(e=>Array.isArray(e)?t("td",{},t(
"span",{text:e[0]}),e[1]?t("span",{class:"mn-why",text:e[1]}):null):t("td",{text:e})))))));const A=t=>[1,3,5].map(e=>
parseInt(t.slice(e,e+2),16));const S=([t,e,s])=>`rgb(${Math.round(t)},${Math.round(e)},${Math.round(s)})`;const T=([t,
e,s])=>(.2126*t+.7152*e+.0722*s)/255;const L=t=>{const e=t.map(A),s=e.length-1;return t=>{const n=Math.min(1,Math.max(
0,t))*s,i=Math.min(s-1,Math.floor(n)),a=n-i;return e[i].map((t,s)=>t+a*(e[i+1][s]-t))}};const C={light:{diverging:L([
"#0a3a75","#2f7fc1","#a6cdec","#f9f9f7","#fbc98f","#dd7f1d","#853703"]),single:L(["#f9f9f7","#b9d8ee","#5a9fd4",
"#1f62a6","#08264f"]),missing:[214,214,214],ink:"#1c1c1c"},dark:{diverging:L(["#a9d6ff","#4a9be0","#22507d","#202328",
"#7a4515","#dd8430","#ffd0a0"]),single:L(["#202328","#1d4a73","#2f7fc1","#7cbcf0","#e6f4ff"]),missing:[78,82,88],ink:
"#f2f2f2"}};const E=e=>{const s=getComputedStyle(e.closest(".mnemoscope")??e);const n=(t,e)=>s.getPropertyValue(t).
trim()||e;const i=t("canvas",{width:1,height:1}).getContext("2d",{willReadFrequently:true});i.fillStyle="#ffffff";i.
fillStyle=s.backgroundColor;i.fillRect(0,0,1,1);const a=[...i.getImageData(0,0,1,1).data].slice(0,3),o=T(a)<.4;
const r=o?C.dark:C.light;return{dark:o,...r,page:a,text:s.color,muted:n("--mn-muted","#666"),accent:n("--mn-accent",
"#0b6bcb"),background:s.backgroundColor,font:n("--mn-font","system-ui, sans-serif"),mono:n("--mn-mono","monospace")}};
const O=t=>{const e=new MutationObserver(()=>requestAnimationFrame(t));for(const t of[document.documentElement,
document.body])e.observe(t,{attributes:true,attributeFilter:["class","style","data-jp-theme-name",
"data-jp-theme-light","data-vscode-theme-kind"]});const s=matchMedia("(prefers-color-scheme: dark)");s.
addEventListener("change",t);return()=>{e.disconnect();s.removeEventListener("change",t)}};class N{constructor(e){
this.canvas=t("canvas",{width:128,height:8,"aria-hidden":"true"});this.low=t("span");this.middle=t("span");this.high=
t("span");this.title=t("div",{class:"mn-bar-title"});this.element=t("div",{class:"mn-bar",role:"img","data-testid":e},
this.title,this.canvas,t("div",{class:"mn-bar-ends"},this.low,this.middle,this.high))}update({ramp:t,low:s,middle:n=
"",high:i,title:a}){const o=this.canvas.getContext("2d");for(let e=0;e<128;e++){o.fillStyle=S(t(e/127));o.fillRect(e,
0,1,8)}e(this.low,s);e(this.middle,n);e(this.high,i);e(this.title,a);this.element.setAttribute("aria-label",
`Colour scale: ${a}, from ${s} to ${i}`)}}const W=(e,s=3)=>new Promise((n,i)=>{const a=new Image;a.onload=()=>{
const i=t("canvas",{width:e.width*s,height:e.height*s});const o=i.getContext("2d");o.scale(s,s);o.drawImage(a,0,0);i.
toBlob(n,"image/png")};a.onerror=()=>i(new Error("the browser could not draw the figure"));a.src=
"data:image/svg+xml;charset=utf-8,"+encodeURIComponent(e.text)});const H=(s,a,{stem:r,figure:l,table:c,example:d})=>{
const h=t("textarea",{class:"mn-code",readonly:true,rows:12,spellcheck:"false","aria-label":
"Python that reproduces this view","data-testid":"code"});const m=t("input",{type:"text","data-testid":"path",
placeholder:d,spellcheck:"false"});const u=t("div",{class:"mn-note","data-testid":"saved",role:"status"}),p=t("input",
{type:"checkbox","data-testid":"overwrite"});const f=()=>a("save",{path:m.value,overwrite:p.checked});m.onkeydown=t=>{
if(t.key==="Enter")f()};const g=(e,s,n,i="")=>t("button",{type:"button",class:`mn-button ${i}`,"data-testid":e,text:s,
onclick:n});const w=async t=>{const s=t.currentTarget;await i(h.value,h);e(s,"Copied");setTimeout(()=>e(s,"Copy"),
1500)};const b=t("div",{},t("div",{class:"mn-buttons"},g("svg","Figure (SVG)",()=>n(`${r()}.svg`,"image/svg+xml",l().
text)),g("png","Figure (PNG)",async()=>n(`${r()}.png`,"image/png",await W(l()))),g("csv","Data (CSV)",()=>n(`${r(
)}.csv`,"text/csv",c()))),t("div",{class:"mn-saverow"},o("Save the labelled data on the kernel’s machine as",m),g(
"save","Save",f),t("label",{class:"mn-check"},p,"replace what is there")),u);const y=t("details",{class:"mn-more",
"data-testid":"export"},t("summary",{text:"Export and code"}),b,t("div",{class:"mn-side-head"},t("span",{class:
"mn-label",text:"Python that reproduces this view"}),g("copy","Copy",w,"mn-small")),h);const v=()=>{const t=s.get(
"saved");e(u,t.text??"");u.classList.toggle("mn-bad",t.ok===false);h.value=s.get("code");h.rows=h.value.split("\n").
length+1};return{element:y,files:b,draw:v}};const P=(t,e)=>{const{rows:s,columns:n}=t.grid,i=(e,i)=>e>=0&&e<s&&i>=0&&
i<n&&t.cone(e,i),{cw:a,ch:o}=t;e.lineWidth=1;const r=a>=6&&o>=6,l=new Path2D;for(let c=0;c<s;c++)for(let s=0;s<n;s++){
if(!i(c,s))continue;const n=s*a,d=t.y(c),h=t.grid.flip?c+1:c-1,m=t.grid.flip?c-1:c+1;if(r){const i=t.grid.colour?t.
grid.colour(c,s,t.theme)??t.theme.missing:t.theme.missing;e.fillStyle=T(i)>.45?"rgba(0,0,0,.62)":
"rgba(255,255,255,.75)";e.fillRect(n+a/2-1,d+o/2-1,2,2)}if(!i(h,s)){l.moveTo(n,d+.5);l.lineTo(n+a,d+.5)}if(!i(m,s)){l.
moveTo(n,d+o-.5);l.lineTo(n+a,d+o-.5)}if(!i(c,s-1)){l.moveTo(n+.5,d);l.lineTo(n+.5,d+o)}if(!i(c,s+1)){l.moveTo(n+a-.5,
d);l.lineTo(n+a-.5,d+o)}}e.strokeStyle=t.theme.background;e.lineWidth=3;e.stroke(l);e.strokeStyle=t.theme.text;e.
lineWidth=1.25;e.stroke(l)};const j={minWidth:3,maxWidth:46,minHeight:3,maxHeight:22,label:11};class z{constructor({
label:e,testid:s,name:n,hover:i=()=>{},select:a=()=>{},key:o=()=>false}){Object.assign(this,{name:n,onHover:i,
onSelect:a,onKey:o});this.focus={row:0,column:0};this.hovered=null;this.selected=null;this.cone=null;this.marks=[];
this.grid=null;const r=l("cell");this.cell=t("div",{role:"gridcell",id:r,"data-testid":`${s}-cell`});this.rowLabels=t(
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
){const{rows:t,columns:e,rowLabels:s,columnLabels:n}=this.grid,i=this.base.getContext("2d");i.font=`${j.
label}px ${this.theme.mono}`;const a=t=>Math.max(0,...t.slice(0,2e3).map(t=>i.measureText(t).width));this.left=Math.
ceil(a(s))+(this.grid.rowTitle?26:10);const o=Math.max(60,this.width-this.left-4);const r=e*t>2e4;this.cw=this.grid.
cellWidth??Math.max(r?1:j.minWidth,Math.min(j.maxWidth,Math.floor(o/e)));if(!this.grid.cellWidth&&e<=400)this.cw=Math.
max(this.cw,Math.min(12,j.maxWidth));this.cw=Math.max(1,Math.min(this.cw,Math.floor(12e3/e)));const l=this.grid.
height??430;this.ch=this.grid.cellHeight??Math.max(r?1:j.minHeight,Math.min(j.maxHeight,Math.floor(l/t)));this.ch=
Math.max(1,Math.min(this.ch,Math.floor(12e3/t)));const c=n.map(t=>m(t.text,20)),d=a(c);this.turned=d+6>this.cw;this.
every=this.turned?Math.max(1,Math.ceil((j.label+2)/this.cw)):1;this.rowEvery=Math.max(1,Math.ceil((j.label+2)/this.
ch));this.plotWidth=this.cw*e;this.plotHeight=this.ch*t;this.lean=this.turned?Math.ceil(d*.5)+8:0;this.bottom=(this.
turned?Math.ceil(d*.87)+14:20)+(this.grid.columnTitle?16:0);this.turnedTexts=c}size(t,e,s){const n=Math.min(window.
devicePixelRatio||1,e*s>4e6?1:3);t.width=Math.max(1,Math.round(e*n));t.height=Math.max(1,Math.round(s*n));t.style.
width=`${e}px`;t.style.height=`${s}px`;const i=t.getContext("2d");i.setTransform(n,0,0,n,0,0);i.clearRect(0,0,e,s);
return i}y(t){return(this.grid.flip?this.grid.rows-1-t:t)*this.ch}draw(){if(!this.grid||!this.element.
isConnected)return;this.theme=E(this.element);this.layout();const{rows:t,columns:e,columnLabels:s,rowLabels:n}=this.
grid,{theme:i}=this;const a=this.size(this.base,this.plotWidth+this.lean,this.plotHeight+this.bottom);this.size(this.
overlay,this.plotWidth,this.plotHeight);if(this.grid.image){a.imageSmoothingEnabled=false;a.drawImage(this.grid.image(
i),0,0,this.plotWidth,this.plotHeight)}else this.drawCells(a);a.strokeStyle=i.muted;a.globalAlpha=.5;a.lineWidth=1;a.
strokeRect(.5,.5,this.plotWidth-1,this.plotHeight-1);a.globalAlpha=1;a.textBaseline="middle";for(let t=0;t<e;t+=this.
every){const{strong:e}=s[t],n=(t+.5)*this.cw;a.font=`${e?"bold ":""}${j.label}px ${i.mono}`;a.fillStyle=e?i.accent:i.
text;a.save();if(this.turned){a.translate(n-2,this.plotHeight+6);a.rotate(Math.PI/3);a.textAlign="left"}else{a.
translate(n,this.plotHeight+10);a.textAlign="center"}a.fillText(this.turnedTexts[t],0,0);a.restore()}a.fillStyle=i.
muted;a.font=`${j.label}px ${i.font}`;if(this.grid.columnTitle){a.textAlign="left";a.fillText(this.grid.columnTitle,0,
this.plotHeight+this.bottom-8)}const o=this.size(this.rowLabels,this.left,this.plotHeight+this.bottom);o.textAlign=
"right";o.textBaseline="middle";o.fillStyle=i.text;o.font=`${j.label}px ${i.mono}`;for(let e=0;e<t;e+=this.rowEvery)o.
fillText(n[e],this.left-5,this.y(e)+this.ch/2);if(this.grid.rowTitle){o.save();o.translate(8,this.plotHeight/2);o.
rotate(-Math.PI/2);o.textAlign="center";o.fillStyle=i.muted;o.font=`${j.label}px ${i.font}`;o.fillText(this.grid.
rowTitle,0,0);o.restore()}this.drawOverlay();this.announce()}drawCells(e){const{rows:s,columns:n,colour:i}=this.grid,
a=t("canvas",{width:n,height:s}),o=a.getContext("2d");const r=o.createImageData(n,s),l=[];for(let t=0;t<s;t++)for(
let e=0;e<n;e++){const a=i(t,e,this.theme),o=4*((this.grid.flip?s-1-t:t)*n+e),[c,d,h]=a??this.theme.missing;if(!a&&l.
length<2e4)l.push([t,e]);r.data[o]=c;r.data[o+1]=d;r.data[o+2]=h;r.data[o+3]=255}o.putImageData(r,0,0);e.
imageSmoothingEnabled=false;e.drawImage(a,0,0,this.plotWidth,this.plotHeight);if(this.cw<5||this.ch<5)return;e.
strokeStyle=this.theme.background;e.globalAlpha=.55;e.lineWidth=1.5;e.beginPath();for(const[t,s]of l){const n=s*this.
cw,i=this.y(t);e.moveTo(n,i+this.ch);e.lineTo(n+this.cw,i)}e.stroke();e.globalAlpha=1}drawOverlay(){if(!this.grid||
!this.cw)return;const t=this.overlay.getContext("2d"),{cw:e,ch:s,theme:n}=this;t.clearRect(0,0,this.plotWidth,this.
plotHeight);if(this.cone)P(this,t);const i=(i,a,o,r=[])=>{if(!i)return;const l=i.column*e,c=this.y(i.row);t.
setLineDash(r);for(const[i,r]of[[n.background,2],[a,0]]){t.strokeStyle=i;t.lineWidth=o+r;t.strokeRect(l+1,c+1,Math.
max(e-2,1),Math.max(s-2,1))}t.setLineDash([])};for(const i of this.marks){const a=i.column*e+e/2,o=this.y(i.row)+s/2,
r=Math.max(2,Math.min(4,e/4,s/4));t.beginPath();t.arc(a,o,r,0,7);t.fillStyle=n.background;t.fill();t.lineWidth=1.5;t.
strokeStyle=n.text;t.stroke()}i(this.hovered,n.text,1);i(this.linked,n.text,1,[3,2]);if(document.activeElement===this.
element)i(this.focus,n.accent,2,[4,2]);i(this.selected,n.text,2.5)}at(t){if(!this.grid)return null;const e=this.
overlay.getBoundingClientRect(),s=Math.floor((t.clientX-e.left)/this.cw),n=Math.floor((t.clientY-e.top)/this.ch);if(s<
0||s>=this.grid.columns||n<0||n>=this.grid.rows)return null;return{row:this.grid.flip?this.grid.rows-1-n:n,column:
s}}mousemove(t){const e=this.at(t);if(e&&this.hovered&&e.row===this.hovered.row&&e.column===this.hovered.
column)return;this.hovered=e;this.drawOverlay();this.onHover(e);if(e)this.showTip(e);else this.hideTip()}showTip(e){
if(!this.grid.tip)return;const s=this.grid.tip(e.row,e.column);this.tip.replaceChildren(...s.map(([e,s])=>t("div",{},
e?t("span",{class:"mn-tip-label",text:`${e} `}):null,t("span",{text:s}))));this.tip.hidden=false;const n=this.element.
getBoundingClientRect(),i=this.overlay.getBoundingClientRect();const a=i.left-n.left+(e.column+1)*this.cw+8,o=i.top-n.
top+this.y(e.row)+this.ch+6;const r=a+this.tip.offsetWidth>n.width?a-this.cw-this.tip.offsetWidth-16:a;const l=o+this.
tip.offsetHeight>n.height?o-this.ch-this.tip.offsetHeight-12:o;this.tip.style.left=`${Math.max(0,r)}px`;this.tip.
style.top=`${Math.max(0,l)}px`}hideTip(){this.tip.hidden=true}showFocus(){this.drawOverlay();this.announce()}announce(
){const{row:t,column:e}=this.focus;this.cellRow.setAttribute("aria-rowindex",(this.grid.flip?this.grid.rows-1-t:t)+1);
this.cell.setAttribute("aria-colindex",e+1);this.cell.setAttribute("aria-selected",String(!!this.selected&&this.
selected.row===t&&this.selected.column===e));const s=this.name(t,e);this.cell.setAttribute("aria-label",s)}choose(){
this.selected={...this.focus};this.onSelect(this.selected);this.drawOverlay();this.announce()}keydown(t){if(!this.
grid||t.ctrlKey||t.altKey||t.metaKey)return;const e=this.grid.flip?1:-1,{rows:s,columns:n}=this.grid,i={...this.
focus};const a={ArrowUp:[e,0],ArrowDown:[-e,0],ArrowLeft:[0,-1],ArrowRight:[0,1],PageUp:[5*e,0],PageDown:[-5*e,0],
Home:[0,-n],End:[0,n]};if(t.key in a){i.row+=a[t.key][0];i.column+=a[t.key][1]}else if(t.key==="Enter"||t.key===" "){
this.choose()}else if(t.key==="Escape"){this.hideTip();return}else{if(this.onKey(t.key,this.focus)){t.preventDefault(
);t.stopPropagation()}return}t.preventDefault();t.stopPropagation();this.focus={row:Math.min(s-1,Math.max(0,i.row)),
column:Math.min(n-1,Math.max(0,i.column))};this.reveal();this.drawOverlay();this.announce();this.onHover(this.focus);
this.showTip(this.focus)}reveal(){const t=this.focus.column*this.cw,e=this.scroller;if(t<e.scrollLeft)e.scrollLeft=t-
20;else if(t+this.cw>e.scrollLeft+e.clientWidth)e.scrollLeft=t+this.cw-e.clientWidth+20;const s=this.y(this.focus.
row);if(s<e.scrollTop)e.scrollTop=s;else if(s+this.ch>e.scrollTop+e.clientHeight&&e.scrollHeight>e.clientHeight)e.
scrollTop=s+this.ch-e.clientHeight}}const R=t=>{if(!t)return new Float32Array(0);const e=t instanceof ArrayBuffer?
new DataView(t):t;const s=e.byteOffset%4?e.buffer.slice(e.byteOffset,e.byteOffset+e.byteLength):e.buffer;
return new Float32Array(s,e.byteOffset%4?0:e.byteOffset,Math.floor(e.byteLength/4))};const D=t=>new Uint8Array(t.
buffer??t,t.byteOffset??0,t.byteLength);const I=t=>{const e=[];return{undo:e,send:(e,s={})=>t.send({type:e,...s}),
listen:(s,n)=>{for(const i of s){t.on(`change:${i}`,n);e.push(()=>t.off(`change:${i}`,n))}},set:e=>{for(const[s,
n]of Object.entries(e))t.set(s,n);t.save_changes()}}};const U=(e,s,n)=>{const i={},o={range:true,number:true};const r=
(t,s)=>{const n=typeof e.get(t);return n==="boolean"?s.checked:n!=="number"?s.value:s.value===""?NaN:Number(s.value)};
const l=(t,e)=>{if(t.type==="checkbox")t.checked=e;else t.value=e};const c=(t,a)=>{i[t]=a;a.setAttribute(
"data-testid",t);let c,d,h=0;const m=()=>{clearTimeout(d);const s=h-Date.now();if(s>0){d=setTimeout(m,s);return}if(r(
t,a)!==e.get(t)){l(a,e.get(t));a.dispatchEvent(new Event("pulled"))}};m();s([t],m);const u=()=>{clearTimeout(c);
const s=r(t,a);if(!Number.isNaN(s)&&s!==e.get(t))n({[t]:s})};a.addEventListener("change",u);if(a.tagName!=="SELECT"&&
a.type!=="checkbox")a.addEventListener("input",()=>{clearTimeout(c);if(o[a.type]){h=Date.now()+700;u()}else c=
setTimeout(u,350)});a.flush=u;return a};return{inputs:i,bound:c,shown:()=>Object.fromEntries(Object.entries(i).map(([
t,e])=>[t,r(t,e)]).filter(([,t])=>!Number.isNaN(t))),flush:()=>{for(const t of Object.values(i))t.flush()},area:(e,s={
})=>c(e,t("textarea",{rows:2,spellcheck:"false",autocapitalize:"off",...s})),line:(e,s)=>c(e,t("input",{type:"text",
spellcheck:"false",autocomplete:"off",placeholder:s})),choose:(e,s)=>c(e,t("select",{},...s.map(([t,e])=>a(t,e))))}};
const _=(e,{send:s,listen:n})=>{const i=t("select",{"data-testid":"examples","aria-label":"Example shown",onchange:(
)=>s("example",{number:Number(i.value)})});const o=t("label",{class:"mn-examples"},t("span",{class:"mn-note",text:
"Example"}),i);const r=()=>{const{names:t=[],own:s=false,chosen:n=null}=e.get("examples");o.hidden=t.length+s<1||t.
length===1&&!s&&n===0;i.replaceChildren(...n===null?[a("","choose one …")]:[],...t.map((t,e)=>a(String(e),t)),...s?[a(
"-1","your last input")]:[]);i.value=n===null?"":String(n)};n(["examples"],r);r();return o};const K=(s,n,{send:i,
listen:a},{start:o,label:r,help:l,stop:c,unit:d})=>{const h=t("button",{class:"mn-button mn-primary",type:"button",
"data-testid":"run",text:r,title:`${l} (Ctrl+Enter)`,onclick:o});const m=t("button",{class:"mn-button",type:"button",
"data-testid":"stop",text:"Stop",title:c,onclick:()=>i("stop")});const u=t("div",{class:"mn-progress-fill"}),p=t(
"span",{class:"mn-note","data-testid":"progress",role:"status"});const f=t("div",{class:"mn-progress",role:
"progressbar","aria-label":d,"aria-valuemin":0,"aria-valuemax":100},u);const g=t("div",{class:"mn-error",role:"alert",
"data-testid":"error",hidden:true});const w=()=>{const i=s.get("status"),a=s.get("progress"),o=a.total?Math.round(
100*a.done/a.total):0,r=s.get("error");m.disabled=i!=="running";n.setAttribute("data-status",i);f.hidden=i!==
"running"&&i!=="stopping";u.style.width=`${o}%`;f.setAttribute("aria-valuenow",o);e(p,a.text??"");g.hidden=!r.text;g.
replaceChildren(...r.text?[t("strong",{text:r.title}),t("pre",{text:r.text})]:[])};a(["status","progress","error"],w);
w();const b=t("div",{class:"mn-run"},h,m,t("div",{class:"mn-status"},f,p));return{run:h,row:b,error:g}};const B=(e,{
title:n,testid:i,name:a,kind:o,data:r,start:l,label:h="Run",help:m,stop:u,unit:p})=>{const f=I(e);const g=t("span",{
class:"mn-chip","data-testid":"model",text:r??e.get("model_info").text});const w=t("div",{class:`mnemoscope ${o}`,
"data-testid":i,"data-lm-suppress-shortcuts":"true",role:"region","aria-label":a});const{run:b,row:y,error:v}=K(e,w,f,
{start:l,label:h,help:m,stop:u,unit:p});w.addEventListener("keydown",t=>{if(t.key!=="Enter"||!(t.ctrlKey||t.
metaKey))return;t.preventDefault();t.stopPropagation();b.click()});const x=(i,{parts:a,drawer:o,box:r,draw:l})=>{
const h=t("header",{class:"mn-header"},t("h2",{text:n}),t("div",{class:"mn-about"},_(e,f),g));w.append(h,...a.filter(
t=>t),o.element);c(i,w);const m=()=>{w.setAttribute("data-dark",E(w).dark);l()};f.listen(["saved","code"],o.draw);f.
undo.push(O(m),s(w,r,m),d(e.get("static_key")));o.draw();return()=>{for(const t of f.undo)t()}};return{...f,root:w,
line:g,run:b,row:y,error:v,open:x}};const F=(t,e)=>JSON.stringify(t)===JSON.stringify(e);const q=t=>{const e=
t?.sizes??[],s=t?.data?D(t.data):new Uint8Array(0),n=[],i=[];let a=0;for(const t of e){i.push(a);a+=t}return t=>{if(
!e[t])return"";if(n[t]===undefined){const a=s.subarray(i[t],i[t]+e[t]);let o="";for(const t of a)o+=String.
fromCharCode(t);n[t]=`data:image/${a[0]===255?"jpeg":"png"};base64,${btoa(o)}`}return n[t]}};const V=(t,e,s,n)=>{if(
!t?.sizes)return null;const i=e*s,a=q(t),o=(t,e,n)=>t*i+e*s+n;return{...t,ready:t.status==="ready",file:(t,e,s)=>{for(
let n=t;n>=0;n--){const t=a(o(n,e,s));if(t)return t}return""},value:(e,s,n)=>t.values[o(e,s,n)]??null,copy:(e,i,a)=>
e===n-1&&t.copied.length?t.copied[i*s+a]:null}};const G=(t,e)=>{const s=[""];for(const n of t.split(" ")){const t=s.
at(-1);if(t&&[...t].length+[...n].length+1>e)s.push(n);else s[s.length-1]=t?`${t} ${n}`:n}return s.map(t=>m(t,e+2))};
const X=[["training","Training picture","training picture"],["before","Before","drawn by the unedited model"],[
"after","After the edit","drawn by the edited model"],["random","Random control",
"drawn with as many random weights set to 0"],["attacked","After the attack",
"drawn by the edited model from an optimised embedding"]];const Y=["before","after","random","attacked"];const J=[
"memorised","reference","place","method","chosen","sparsity","first"];const Q=
"system-ui, DejaVu Sans, Arial, sans-serif";function Z({model:s,el:i}){const a=B(s,{title:"Diffusion bench",testid:
"diffusion-bench",name:"Diffusion bench",kind:"mn-memory mn-diffusion",label:"Locate and draw",help:
"Draw the captions, find the weights, draw again; what is there is not made again",stop:
"Stop before the next denoising step; what is whole stays, and the weights are restored",unit:"Steps of this stage",
start:()=>{W();r("run",{fields:j()})}});const{send:r,listen:l,root:c,row:d,error:h}=a;const $=s.get("model_info"),A=s.
get("names"),S=$.frames.length,T=$.measure==="normalised distance"?"d":"r";const L=t=>{for(const[e,n]of Object.
entries(t))s.set(e,n);r("move",{fields:t});ae()};const{bound:C,shown:O,flush:W,choose:P}=U(s,l,L);const j=()=>({...O(
),chosen:s.get("chosen"),sparsity:s.get("sparsity"),step:s.get("step")});const I=()=>["running","stopping"].includes(
s.get("status"));const _=$.side<=64,K=_?Math.max(64,$.side):112;const Z=t=>$.places[t]??Object.values($.places)[0],tt=
()=>Z(s.get("place"));const et=P("place",s.get("places"));et.title=
"The layers of the U-Net that are watched and cut; statistics are run once for each choice";const st=t=>P(t,A[t].map((
[t,e])=>[t,m(y(e),60)]));const nt=t("div",{class:"mn-error",role:"alert","data-testid":"refused",hidden:true});
const it=t("div",{},t("div",{class:"mn-controls"},o("Memorised captions",st("memorised")),o("Reference captions",st(
"reference")),o("Layers to cut",et),o("Method",P("method",s.get("methods")))),t("div",{class:"mn-controls"},d),nt,h);
const at=()=>{const e=s.get("doubts"),n=e.refused&&e.memorised===s.get("memorised")&&e.reference===s.get("reference");
nt.hidden=!n;nt.replaceChildren(...n?[t("strong",{text:"These sets overlap: nothing is run with them"}),t("pre",{text:
e.refused})]:[]);if(n&&s.get("error").text===e.refused)h.hidden=true};const ot=s.get("sparsities"),rt=t=>ot.reduce((e,
s,n)=>Math.abs(Math.log(s/t))<Math.abs(Math.log(ot[e]/t))?n:e,0);const lt=t("input",{type:"range",min:0,max:ot.length-
1,step:1,"data-testid":"sparsity","aria-label":"Sparsity: share of each row’s weights set to 0 at one step"}),ct=t(
"output",{"data-testid":"sparsity-now"});const dt=C("first",t("input",{type:"range",min:1,max:$.steps,step:1,
"aria-label":"Denoising steps whose masks are united"})),ht=t("output",{"data-testid":"first-now"});lt.oninput=()=>L({
sparsity:ot[Number(lt.value)]});const mt=(e,s,n)=>t("div",{class:"mn-field mn-slide"},t("span",{},t("span",{class:
"mn-label",text:e}),s),n);const ut=t("p",{class:"mn-note","data-testid":"edit",role:"status"});const pt=t("p",{
"data-testid":"force",role:"status"}),ft=t("button",{type:"button",class:"mn-button","data-testid":"put",text:
"Put this edit in force",onclick:()=>r("put",{fields:j()})}),gt=t("button",{type:"button",class:"mn-button",
"data-testid":"undo",onclick:()=>r("undo")});const wt=t("div",{class:"mn-weights","data-testid":"weights"},ft,gt,pt);
const bt=t("section",{class:"mn-section","aria-label":"The edit"},t("div",{class:"mn-side-head"},t("h3",{text:
"The edit"})),t("div",{class:"mn-moves"},mt("Sparsity: share of each row’s weights, at one step ",ct,lt),mt(
"First denoising steps, masks united ",ht,dt)),ut,wt);const yt=t=>t?t.slice(0,12):"…";const vt=t=>!!t&&J.every(e=>F(t[
e],s.get(e)));const xt=()=>{const t=s.get("edit"),n=s.get("sparsity"),i=s.get("first");lt.value=rt(n);e(ct,g(n));lt.
setAttribute("aria-valuetext",g(n));const a=tt().alike;e(ht,a?"makes no difference here":`${i} of ${$.steps}`);dt.
setAttribute("aria-valuetext",a?ht.textContent:`${i} of ${$.steps} steps`);dt.disabled=a;dt.title=a?
"Keys and values read the caption’s words, the same at every step: so are the masks":"";e(ut,!t.weights?"":vt(t.key)?
`The mask sets ${t.weights.toLocaleString("en")} weights to 0, ${w(t.density)} of those in `+`the ${Z(t.key.place).
layers}.`:`The pictures with an edit are still of ${t.text}.`+(!I()&&t.key.place!==s.get("place")?
` “Locate and draw” makes those of the ${tt().layers}.`:""))};const kt=()=>{const n=s.get("force"),i=!!s.get("edit").
weights;wt.hidden=!i&&n.state==="none";wt.setAttribute("data-state",n.state);ft.disabled=I()||!!n.doing||!i||!vt(s.
get("edit").key);gt.disabled=n.state!=="in force";e(gt,n.state==="in force"?"Undo: weights back, bit-equal":n.state===
"undone"&&n.same?"Undone: weights bit-equal":"Undo");const a=n.state==="in force"?`The model is edited now: ${n.
what}. Weight hash ${yt(n.before)} → ${yt(n.now)}; whatever `+
`the notebook asks this pipeline is answered by the edited one.`:n.state==="undone"?`The model is not edited: ${n.
what} was undone; weight hash ${yt(n.now)}, `+`${n.same?`unchanged from ${yt(n.before)} before the edit`:
`NOT the ${yt(n.before)} from before`}`+`.`:n.state==="error"?"":I()?
"While pictures are drawn, the weights are edited and restored.":
"The model is not edited: the pictures below were drawn with the edit and the weights "+
"restored. Here it can be left in force, to try in the notebook.";pt.replaceChildren(n.doing??a,...n.text?[t("strong",
{class:"mn-bad",text:` ${n.text}`})]:[])};const $t=t("div",{class:"mn-empty","data-testid":"empty"},t("strong",{text:
"No pictures yet"}),t("p",{text:
"“Locate and draw” draws the captions below with the model’s own weights, finds the weights that "+
"tell them from the reference, sets those to 0, and draws again, beside as many random weights. "+
"You watch each denoising step. The weights are restored after every drawing."}));const Mt=t("p",{class:"mn-note",
"data-testid":"limit"}),At=t("p",{class:"mn-note",text:$.measure?`${T}: ${$.about}.`:
"No training pictures were given: no copy measure."});const St=t("input",{type:"range",min:0,max:S-1,step:1,
"data-testid":"step","aria-label":"Denoising step shown"}),Tt=t("output",{"data-testid":"step-now"});const Lt=t=>{
const e=Math.max(0,Math.min(S-1,t));s.set("step",e);r("move",{fields:{step:e}});ae()};St.oninput=()=>Lt(Number(St.
value));let Ct=0;const Et=()=>{clearInterval(Ct);Ct=0;e(Ot,"Play")};const Ot=t("button",{type:"button",class:
"mn-button","data-testid":"play",text:"Play",title:"Go through the denoising steps",onclick:()=>{if(Ct){Et();
return}let t=0;e(Ot,"Pause");s.set("step",0);ae();Ct=setInterval(()=>{t+=1;s.set("step",Math.min(t,S-1));ae();if(t>=S-
1)Et()},Math.max(90,3e3/S))}});a.undo.push(Et);const Nt=$.seeds.length>1?P("seed",$.seeds.map((t,e)=>[e,
`seed ${t}`])):null;const Wt=t("div",{class:"mn-moves"},mt("Denoising step shown ",Tt,St),Ot,Nt?o("Starting noise",
Nt):null);const Ht=t("tr",{role:"row"}),Pt=t("tbody",{role:"rowgroup"}),jt=t("table",{class:"mn-pictures",role:"grid",
"data-testid":"grid","aria-label":"Pictures: a row a state of the model, a column a caption"},t("thead",{role:
"rowgroup"},Ht),Pt);const zt=t("p",{class:"mn-note mn-readout","data-testid":"readout",role:"status"}),Rt=t("div",{
"data-testid":"numbers"});const Dt=t("button",{type:"button",class:"mn-button","data-testid":"attack",text:
"Attack this edit",onclick:()=>{W();r("attack",{fields:j()})}});const It=t("p",{class:"mn-note",text:
"An attack looks for a text embedding that makes the edited model denoise towards the training "+
"picture. With enough updates that draws any picture: read it beside the never-trained pictures "+
"attacked with the same budget. Moving a slider stops it."});const Ut=t("section",{class:"mn-section","aria-label":
"Attack on the edit"},t("div",{class:"mn-side-head"},t("h3",{text:"Attack on the edit"})),It,t("div",{class:
"mn-controls"},o("Updates",C("updates",t("input",{type:"number",min:1,max:1e4,step:10}))),o("starting from",P("start",
s.get("starts"))),Dt));const _t=t("p",{class:"mn-note","data-testid":"help",text:
"The mask is located on the captions that are ticked; the others show what it does to pictures it "+
"was not made from. Keys: arrows, Home and End move through the pictures and the map and read them "+
"out; Space ticks a caption on or off; Ctrl+Enter draws."});const Kt=t("section",{class:"mn-section","aria-label":
"Pictures"},t("div",{class:"mn-side-head"},t("h3",{text:"Pictures"})),$t,Mt,At,Wt,t("div",{class:"mn-gridbox"},jt),zt,
_t,Rt);let Bt=[],Ft=[],qt=[],Vt=()=>"",Gt={},Xt=[0,0];const Yt=()=>Math.min(s.get("seed"),$.seeds.length-1);const Jt=
t=>p(t)?"":`${T} = ${t.toFixed(2).replace("-0.00","0.00").replace("-","−")}`,Qt=t=>t===true?"copy":t===false?
"no copy":"";const Zt=(t,e)=>{const[n,,i]=X[t],a=qt[e];if(n==="training")return{file:Vt(e),said:"",alt:`${y(
a)}: ${i}`};const o=Gt[n];if(!o||o.memorised!==s.get("memorised"))return{file:"",said:"",alt:`${y(a)}: not ${i} yet`};
const r=o.ready?Math.min(s.get("step"),S-1):Math.max(0,Math.min(s.get("step"),o.frames-1)),l=o.value(r,e,Yt()),c=o.
copy(r,e,Yt()),d=Jt(l),h=r===S-1;return{file:o.file(r,e,Yt()),value:l,copy:c,said:d,alt:`${y(a)}: ${i}${h?"":
`, after step ${$.frames[r]} of ${$.steps}`}`+`${n!=="before"&&o.key&&!vt(o.key)?`, of an earlier edit`:""}`+`${d?
`, ${d}`:""}${Qt(c)?`, ${Qt(c)}`:""}`}};const te=()=>e(zt,qt.length?`${Zt(...Xt).alt}.`:"");const ee=()=>{const e=s.
get("prompts");qt=e.captions??[];Vt=q(e);Xt=[0,0];Ft=qt.map((e,s)=>t("input",{type:"checkbox","aria-label":
`The mask is located on: ${y(e)}`,"data-testid":`tick-${s}`,onchange:()=>ne(s)}));Ht.replaceChildren(t("th",{scope:
"col",text:"Caption"}),...qt.map((e,s)=>t("th",{scope:"col",title:y(e),style:`min-width:${K+8}px`},t("span",{text:m(y(
e),70)}),t("br"),t("label",{class:"mn-tick"},Ft[s],"located on"))));Bt=X.map(([e,s],n)=>{const i=t("span",{class:
"mn-row-note"}),a=t("tr",{role:"row","data-state":e},t("th",{scope:"row"},t("span",{text:s}),i));const o=qt.map((s,
i)=>{const a=t("span",{class:"mn-said","aria-hidden":"true"}),o=t("span",{class:"mn-said","aria-hidden":"true"}),r=t(
"img",{class:"mn-pic",style:`min-width:${K}px`,"data-sharp":_,draggable:"false"}),l=t("td",{role:"gridcell",tabindex:
n||i?"-1":"0","data-testid":`cell-${e}-${i}`},r,a,o);l.onfocus=()=>{se(n,i,false)};return{td:l,picture:r,said:a,
judged:o}});a.append(...o.map(t=>t.td));Pt.append(a);return{row:a,notes:i,line:o}});Pt.replaceChildren(...Bt.map(t=>t.
row));ie()};const se=(t,e,s=true)=>{if(!Bt[t]?.line[e])return;Bt[Xt[0]]?.line[Xt[1]]?.td.setAttribute("tabindex",
"-1");Xt=[t,e];const{td:n}=Bt[t].line[e];n.setAttribute("tabindex","0");if(s)n.focus();te()};const ne=t=>{const e=
new Set(s.get("chosen"));if(e.has(t))e.delete(t);else e.add(t);L({chosen:[...e].sort((t,e)=>t-e)})};Pt.onkeydown=t=>{
if(!t.target.matches("td")||t.ctrlKey||t.altKey||t.metaKey)return;const e=Bt.map((t,e)=>e).filter(t=>!Bt[t].row.
hidden),s=e.indexOf(Xt[0]),n={ArrowUp:[s-1,Xt[1]],ArrowDown:[s+1,Xt[1]],ArrowLeft:[s,Xt[1]-1],ArrowRight:[s,Xt[1]+1],
Home:[s,0],End:[s,qt.length-1]}[t.key];if(t.key===" ")ne(Xt[1]);else if(!n)return;t.preventDefault();t.
stopPropagation();if(n&&n[0]>=0&&n[0]<e.length&&n[1]>=0&&n[1]<qt.length)se(e[n[0]],n[1])};const ie=()=>{Gt=Object.
fromEntries(Y.map(t=>[t,V(s.get(t),qt.length,$.seeds.length,S)]));ae()};const ae=()=>{if(!Bt.length)return;const t=
Math.min(s.get("step"),S-1),n=s.get("memorised"),i=new Set(s.get("chosen")),a=Gt.before?.memorised===n?Gt.before:null,
o=Gt.attacked?.memorised===n?Gt.attacked:null;St.value=t;e(Tt,t<S-1?`${$.frames[t]} of ${$.steps}`:Y.some(t=>Gt[t]&&
!Gt[t].ready)?"the latest there is":`${$.frames[t]} of ${$.steps}, the finished picture`);St.setAttribute(
"aria-valuetext",Tt.textContent);$t.hidden=!!a;for(const t of[Wt,Mt,At,Ut,_t,zt])t.hidden=!a;Rt.hidden=!a?.ready;c.
setAttribute("data-pictures",a?.ready?"true":"false");Ft.forEach((t,e)=>{t.checked=i.has(e)});Bt.forEach(({row:t,
notes:i,line:r},l)=>{const[c]=X[l],d=Gt[c],h=d?.memorised===n,m=h&&c!=="before"&&!vt(d.key);t.hidden=c==="training"?!(
s.get("prompts").sizes??[]).some(t=>t):c==="attacked"?!o||m:!a&&c!=="before"?true:!a&&!h;t.setAttribute("data-old",
String(m));e(i,c==="training"?"":!h?"":!d.ready?`step ${$.frames[Math.max(0,d.frames-1)]} of ${$.steps} …`:m?
"of an earlier edit":c==="after"?`${s.get("place")}, ${s.get("method")}, ${g(s.get("sparsity"))}`+`${tt().alike?"":
`, ${f(s.get("first"),"step")}`}`:c==="random"?"as many weights of each row":c==="attacked"?`${d.attack[0]} updates`:
"the model’s own weights");r.forEach(({td:t,picture:s,said:n,judged:i},a)=>{const o=Zt(l,a);s.classList.toggle(
"mn-none",!o.file);if(o.file){if(s.getAttribute("src")!==o.file)s.src=o.file}else s.removeAttribute("src");s.alt=o.
alt;e(n,o.said);e(i,Qt(o.copy));t.setAttribute("data-copy",o.copy===true)})});if(Bt[Xt[0]].row.hidden)Xt=[0,Xt[1]];e(
Mt,s.get("limit").text??"");Dt.disabled=I()||!Gt.after?.ready||!vt(Gt.after.key)||!(s.get("prompts").sizes??[]).some(
t=>t);te();re();xt();kt()};const oe=()=>X.slice(1).flatMap(([t,e])=>{const n=Gt[t];if(!n?.ready||n.memorised!==s.get(
"memorised")||t!=="before"&&!vt(n.key))return[];return[...n.groups.map(t=>[e,n.groups.length>1?t.name:"",t]),...n.
never?[[e,n.never.name,n.never]]:[]]});const re=()=>{const e=oe();if(!$.measure||!e.length){Rt.replaceChildren();
return}Rt.replaceChildren(M("table",["","pictures that are copies",`mean ${T}`],e.map(([t,e,s])=>[e?`${t}, ${e}`:t,s.
copies===undefined?"–":[`${s.copies} of ${s.pictures}`,b(s.low,s.high,w)],g(s.mean)])),t("p",{class:"mn-note",text:
`${g(100*$.level)} % intervals over captions (Clopper–Pearson, or bootstrap where a `+
`caption has several seeds that disagree). `+`${$.seeds.length>1?"All seeds together.":
`One seed of starting noise, ${$.seeds[0]}.`}`+` Control: one draw.`}))};let le=null;const ce=t("p",{class:
"mn-note"}),de=t("p",{class:"mn-note mn-readout","data-testid":"map-read",role:"status"}),he=new N("map-bar");
const me=(t,e)=>{const n=t*le.steps+e,i=vt(s.get("edit").key)?s.get("edit").layers?.[t]:null;return[["layer",le.short[
t]],["step",`${e+1} of ${le.steps}${e<s.get("first")?", united":""}`],[`${Z(le.place).unit} beyond z = 3`,w(le.share[
n])],["largest |z|",g(le.largest[n])],...p(i)?[]:[["the edit takes",`${w(i)} of the layer`]]]};const ue=new z({label:
"Layer-by-step map: how far layers tell the two sets apart; arrow keys read its cells",testid:"map",name:(t,e)=>me(t,
e).map(t=>t.join(" ")).join(", "),hover:t=>{if(t)e(de,`${le.layers[t.row]}: ${me(t.row,t.column).slice(1).map(t=>t.
join(" ")).join(", ")}.`)}});const pe=t("section",{class:"mn-section","aria-label":"Layer-by-step map","data-testid":
"scores"},t("div",{class:"mn-side-head"},t("h3",{text:"Where and when the two sets differ"}),he.element),ce,ue.
element,de);const fe=()=>{const t=s.get("scores");pe.hidden=!t.layers||t.memorised!==s.get("memorised");if(pe.hidden){
le=null;return}le={...t,share:R(t.share),largest:R(t.largest)};if(!c.isConnected)return;const n=Z(t.place),i=Math.max(
0,...le.share)||.01,a=t.reference!==s.get("reference")||t.place!==s.get("place")||!F(t.chosen,s.get("chosen"));e(ce,
`${t.sets[0]} memorised against ${t.sets[1]} reference captions in the ${n.layers}`+`${a?" (of an earlier choice)":
""}: share of a layer’s ${n.unit} whose mean energy differs `+
`by more than 3 standard errors; about 0.3 % by chance, more with few captions. Layers by block `+`and attention`+(n.
alike?", k: keys, v: values. All of them read the caption’s words, which no layer and no step changes: "+
`there is one value instead of a map, ${w(le.share[0])}.`:
", in the order in which they run; steps in bold are united in the mask."));he.element.hidden=ue.element.hidden=de.
hidden=n.alike;if(n.alike)return;he.update({ramp:E(c).single,low:"0 %",middle:w(i/2),high:w(i),title:`${n.
unit} beyond z = 3`});const o=Math.max(240,(pe.clientWidth||900)-20);ue.update({rows:le.layers.length,columns:le.
steps,rowLabels:le.short,columnLabels:Array.from({length:le.steps},(t,e)=>({text:String(e+1),strong:e<s.get(
"first")})),rowTitle:"layer",columnTitle:"denoising step",cellHeight:22,cellWidth:Math.max(12,Math.min(120,Math.floor(
(o-120)/le.steps))),colour:(t,e,s)=>s.single(le.share[t*le.steps+e]/i),tip:me},o)};const ge=()=>(`diffusion_${s.get(
"memorised")}_${s.get("place")}_${s.get("method")}_`+`${s.get("sparsity")}_${s.get("first")}`).replace(/[^\w.-]+/g,
"_");const we=()=>X.map((t,e)=>[t,e]).filter(([,t])=>Bt[t]&&!Bt[t].row.hidden);const be=()=>{const t=[["caption",
"located_on","state","seed","step","measure","value","copy"]],e=s.get("memorised"),n=new Set(s.get("chosen"));for(
const s of Y){const i=Gt[s];if(!i?.ready||i.memorised!==e||s!=="before"&&!vt(i.key))continue;for(let e=0;e<qt.length;
e++)for(let a=0;a<$.seeds.length;a++)for(let o=0;o<S;o++){const r=i.value(o,e,a),l=i.copy(o,e,a);if(o===S-1||!p(r))t.
push([qt[e],String(n.has(e)),s,$.seeds[a],$.frames[o],$.measure,r??NaN,l===null?"":String(l)])}}return t.map(u).join(
"")};const ye=()=>{const t=we(),e=_?80:K,s=112,n=e+14,i=$.measure?34:10,a=qt.map(t=>G(y(t),Math.floor(n/5.6)).slice(0,
6)),o=10+12*Math.max(1,...a.map(t=>t.length)),r=e+i,l=s+n*qt.length+6,c=o+r*t.length+8;const d=x("svg",{xmlns:
"http://www.w3.org/2000/svg",width:l,height:c,viewBox:`0 0 ${l} ${c}`,"font-family":Q,"font-size":10},x("rect",{width:
l,height:c,fill:"#ffffff"})),h=(t,e,s,n={})=>x("text",{x:t,y:e,fill:"#1c1c1c",...n},s);for(const[t,e]of a.entries(
))for(const[i,a]of e.entries()){const r=s+t*n+n/2;d.append(h(r,o-12*(e.length-i)+4,a,{"text-anchor":"middle",
"font-size":9}))}t.forEach(([[,t],i],a)=>{const l=o+a*r;d.append(h(4,l+e/2,t,{"font-size":11}));qt.forEach((t,a)=>{
const o=Zt(i,a),r=s+a*n+7;if(o.file)d.append(x("image",{x:r,y:l,width:e,height:e,href:o.file,style:_?
"image-rendering:pixelated":null}));d.append(x("rect",{x:r,y:l,width:e,height:e,fill:"none",stroke:o.copy?v.other:
"#d0d0d0","stroke-width":o.copy?2.5:.7}),...[o.said,Qt(o.copy)].map((t,s)=>h(r+e/2,l+e+12*(s+1),t,{"text-anchor":
"middle","font-weight":o.copy?"bold":"normal"})))})});return k(d)};const ve=H(s,(t,e)=>r(t,{...e,fields:j()}),{stem:
ge,figure:ye,table:be,example:"measures.zarr, measures.csv, mask.npz"});e(ve.files.querySelector("[data-testid=csv]"),
"Measures (CSV)");e(ve.files.querySelector("[data-testid=svg]"),"Picture grid (SVG)");e(ve.files.querySelector(
"[data-testid=png]"),"Picture grid (PNG)");e(ve.files.querySelector(".mn-saverow .mn-label"),
"Save on the kernel’s machine: the measures (.zarr, .nc, .csv, .parquet) or the mask shown (.npz)");const xe=()=>n(
`${ge()}_map.csv`,"text/csv",[["layer","step","share_beyond_3","largest_z"],...le.layers.flatMap((t,e)=>Array.from({
length:le.steps},(s,n)=>[t,n+1,le.share[e*le.steps+n],le.largest[e*le.steps+n]]))].map(u).join(""));ve.files.
querySelector(".mn-buttons").append(t("button",{type:"button",class:"mn-button","data-testid":"map-csv",text:
"Map (CSV)",onclick:()=>{if(le)xe()}}),t("button",{type:"button",class:"mn-button","data-testid":"npz",text:
"Mask shown (npz)",onclick:()=>r("document",{kind:"npz",fields:j()})}));let ke=s.get("document").number??0;const $e=(
)=>{const t=s.get("document");if(!t.number||t.number===ke)return;ke=t.number;n(`${ge()}.${t.kind}`,t.type,D(t.data))};
const Me=()=>{e(a.line,tt().text);bt.hidden=!s.get("edit").weights&&!Gt.before;ve.files.hidden=!Gt.before;at();fe()};
const Ae=()=>{ae();Me()};l(["prompts"],ee);l(Y,()=>{ie();Me()});l(["memorised","reference","place","method","chosen",
"sparsity","first","step","seed","limit","edit"],()=>{ae();Me()});l(["scores"],fe);l(["doubts"],at);l(["force"],kt);l(
["status","progress","error"],()=>{at();ae()});l(["document"],$e);const Se=a.open(i,{parts:[it,bt,Kt,Ut,pe],drawer:ve,
box:Kt,draw:Ae});ee();Ae();return Se}var tt={render:Z};export{tt as default};
