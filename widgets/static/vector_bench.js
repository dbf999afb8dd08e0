// Built by npm run build from 13 files, sha256 a35d9324b4365f8a5f18dd46bf3ad0150b8191fecfc73c88680b55ff3cbced56
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
text:s});const a=(e,s,n)=>t("label",{class:"mn-field"},t("span",{class:"mn-label",text:e}),s,null);let r=0;const l=t=>
`mn-${t}-${++r}-${Math.random().toString(36).slice(2,7)}`;const c=(t,e)=>{t.append(e);e.addEventListener(
"pointerdown",t=>{const e=t.button===0&&t.target.closest("button");if(!e||e.disabled)return;const s=n=>{if(n.
pointerId!==t.pointerId)return;document.removeEventListener("pointerup",s,true);document.removeEventListener(
"pointercancel",s,true);const i=Math.hypot(n.clientX-t.clientX,n.clientY-t.clientY)<6;if(n.type==="pointerup"&&i&&!e.
contains(n.target)&&e.isConnected)e.click()};document.addEventListener("pointerup",s,true);document.addEventListener(
"pointercancel",s,true)})};const h=e=>{if(!e||!/^[\w-]+$/.test(e))return()=>{};const s=t("style",{text:
`.jp-OutputArea-child:has(.mnemoscope-static-${e}), .mnemoscope-static-${e} { display: none `+`!important; }`});
document.head.append(s);return()=>s.remove()};const d=t=>[1,3,5].map(e=>parseInt(t.slice(e,e+2),16));const m=([t,e,
s])=>`rgb(${Math.round(t)},${Math.round(e)},${Math.round(s)})`;const u=([t,e,s])=>(.2126*t+.7152*e+.0722*s)/255;
const p=t=>{const e=t.map(d),s=e.length-1;return t=>{const n=Math.min(1,Math.max(0,t))*s,i=Math.min(s-1,Math.floor(
n)),o=n-i;return e[i].map((t,s)=>t+o*(e[i+1][s]-t))}};const f={light:{diverging:p(["#0a3a75","#2f7fc1","#a6cdec",
"#f9f9f7","#fbc98f","#dd7f1d","#853703"]),single:p(["#f9f9f7","#b9d8ee","#5a9fd4","#1f62a6","#08264f"]),missing:[214,
214,214],ink:"#1c1c1c"},dark:{diverging:p(["#a9d6ff","#4a9be0","#22507d","#202328","#7a4515","#dd8430","#ffd0a0"]),
single:p(["#202328","#1d4a73","#2f7fc1","#7cbcf0","#e6f4ff"]),missing:[78,82,88],ink:"#f2f2f2"}};const g=e=>{const s=
getComputedStyle(e.closest(".mnemoscope")??e);const n=(t,e)=>s.getPropertyValue(t).trim()||e;const i=t("canvas",{
width:1,height:1}).getContext("2d",{willReadFrequently:true});i.fillStyle="#ffffff";i.fillStyle=s.backgroundColor;i.
fillRect(0,0,1,1);const o=[...i.getImageData(0,0,1,1).data].slice(0,3),a=u(o)<.4;const r=a?f.dark:f.light;return{dark:
a,...r,page:o,text:s.color,muted:n("--mn-muted","#666"),accent:n("--mn-accent","#0b6bcb"),background:s.
backgroundColor,font:n("--mn-font","system-ui, sans-serif"),mono:n("--mn-mono","monospace")}};const w=t=>{const e=
new MutationObserver(()=>requestAnimationFrame(t));for(const t of[document.documentElement,document.body])e.observe(t,
{attributes:true,attributeFilter:["class","style","data-jp-theme-name","data-jp-theme-light",
"data-vscode-theme-kind"]});const s=matchMedia("(prefers-color-scheme: dark)");s.addEventListener("change",t);return(
)=>{e.disconnect();s.removeEventListener("change",t)}};class b{constructor(e){this.canvas=t("canvas",{width:128,
height:8,"aria-hidden":"true"});this.low=t("span");this.middle=t("span");this.high=t("span");this.title=t("div",{
class:"mn-bar-title"});this.element=t("div",{class:"mn-bar",role:"img","data-testid":e},this.title,this.canvas,t(
"div",{class:"mn-bar-ends"},this.low,this.middle,this.high))}update({ramp:t,low:s,middle:n="",high:i,title:o}){
const a=this.canvas.getContext("2d");for(let e=0;e<128;e++){a.fillStyle=m(t(e/127));a.fillRect(e,0,1,8)}e(this.low,s);
e(this.middle,n);e(this.high,i);e(this.title,o);this.element.setAttribute("aria-label",
`Colour scale: ${o}, from ${s} to ${i}`)}}const v=t=>{if(t==="")return"∅";return t.replace(/ /g,"·").replace(/\r?\n/g,
"⏎").replace(/\t/g,"⇥").replace(/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,t=>`‹${t.
codePointAt(0).toString(16).padStart(4,"0")}›`)};const x=(t,e)=>[...t].length>e?[...t].slice(0,e-1).join("")+"…":t;
const y=t=>{if(t===null||t===undefined||Number.isNaN(t))return"no value";if(!Number.isFinite(t))return t>0?"∞":"−∞";
const e=Math.abs(t);const s=e===0?"0":e>=1e5||e<1e-4?e.toExponential(2):e>=100?e.toFixed(1):e>=1?e.toFixed(2):e.
toFixed(3);return(t<0&&Number(s)!==0?"−":"")+s};const $=t=>(t>=.1?(100*t).toFixed(0):t>=.001?(100*t).toFixed(1):
"<0.1")+"%";const k=t=>t.map(t=>typeof t==="string"?`"${t.replace(/"/g,'""')}"`:Number.isNaN(t)?"":String(t)).join(
",")+"\r\n";const M=t=>{let e=0;for(const s of t){const t=Math.abs(s);if(t>e&&Number.isFinite(t))e=t}return e};
const S=t=>t===null||t===undefined||Number.isNaN(t);const T=(t,e)=>`${t.toLocaleString("en")} ${e}${t===1?"":"s"}`;
const L=(t,{title:e,subtitle:s,bar:n,limit:i,low:o=y(-i)})=>{const a="http://www.w3.org/2000/svg",r=f.light;const l=(
t,e,s)=>{const n=document.createElementNS(a,t);for(const[t,s]of Object.entries(e))n.setAttribute(t,s);if(s!==
undefined)n.textContent=s;return n};const c=t.columnLabels.map(t=>x(t.text,24)),h=Math.max(4,Math.min(26,900/t.
columns)),d=Math.max(4,Math.min(14,600/t.rows));const u=Math.max(1,Math.ceil(11/h)),p=Math.max(1,Math.ceil(11/d)),g=
Math.max(1,...c.map(t=>[...t].length))*6.1,w=g+4>h;const b=46,v=48,$=b+h*t.columns+Math.max(20,g*.55)+70,k=v+d*t.rows+
g*.87+36;const M=l("svg",{xmlns:a,width:Math.ceil($),height:Math.ceil(k),viewBox:`0 0 ${Math.ceil($)} ${Math.ceil(
k)}`,"font-family":"DejaVu Sans, Arial, sans-serif","font-size":10});M.append(l("rect",{width:"100%",height:"100%",
fill:"#ffffff"}),l("text",{x:b,y:18,"font-size":12,"font-weight":"bold"},e),l("text",{x:b,y:34,fill:"#555555"},s));
const S=e=>v+(t.flip?t.rows-1-e:e)*d;for(let e=0;e<t.rows;e++)for(let s=0;s<t.columns;s++)M.append(l("rect",{x:(b+
s*h).toFixed(2),y:S(e).toFixed(2),width:(h+.2).toFixed(2),height:(d+.2).toFixed(2),fill:m(t.colour(e,s,r)??r.
missing)}));M.append(l("rect",{x:b,y:v,width:h*t.columns,height:d*t.rows,fill:"none",stroke:"#888888","stroke-width":
.75}));for(let e=0;e<t.rows;e+=p)M.append(l("text",{x:b-4,y:S(e)+d/2+3.5,"text-anchor":"end"},t.rowLabels[e]));
const T=v+d*t.rows;for(let e=0;e<t.columns;e+=u){const s=b+(e+.5)*h-(w?2:0);M.append(l("text",{transform:
`translate(${s.toFixed(1)} ${T+(w?9:13)})${w?" rotate(60)":""}`,"text-anchor":w?"start":"middle","font-family":
"DejaVu Sans Mono, monospace","font-weight":t.columnLabels[e].strong?"bold":"normal"},c[e]))}M.append(l("text",{
transform:`translate(12 ${v+d*t.rows/2}) rotate(-90)`,"text-anchor":"middle",fill:"#555555"},t.rowTitle),l("text",{x:
b,y:k-8,fill:"#555555"},t.columnTitle));const L=b+h*t.columns+14,E=60,C=Math.min(160,d*t.rows);for(let t=0;t<E;t++)M.
append(l("rect",{x:L,y:v+C*t/E,width:9,height:C/E+.3,fill:m(r.diverging(1-t/(E-1)))}));for(const[t,e]of[[y(i),0],["0",
.5],[o,1]])M.append(l("text",{x:L+13,y:v+C*e+4},t));M.append(l("text",{transform:`translate(${L+50} ${v+
C/2}) rotate(90)`,"text-anchor":"middle",fill:"#555555"},n));return{text:(new XMLSerializer).serializeToString(M),
width:Math.ceil($),height:Math.ceil(k)}};const E=(e,s=3)=>new Promise((n,i)=>{const o=new Image;o.onload=()=>{const i=
t("canvas",{width:e.width*s,height:e.height*s});const a=i.getContext("2d");a.scale(s,s);a.drawImage(o,0,0);i.toBlob(n,
"image/png")};o.onerror=()=>i(new Error("the browser could not draw the figure"));o.src=
"data:image/svg+xml;charset=utf-8,"+encodeURIComponent(e.text)});const C=t=>{const e=t.reduce((t,e)=>t+e.width,0),s=
Math.max(...t.map(t=>t.height));let n=0;const i=t.map(t=>{const e=n;n+=t.width;return t.text.replace("<svg ",
`<svg x="${e}" `)}).join("");return{text:
`<svg xmlns="http://www.w3.org/2000/svg" width="${e}" height="${s}" viewBox="0 0 ${e} `+
`${s}"><rect width="100%" height="100%" fill="#ffffff"/>${i}</svg>`,width:e,height:s}};const N=(s,o,{stem:r,figure:l,
table:c,example:h})=>{const d=t("textarea",{class:"mn-code",readonly:true,rows:12,spellcheck:"false","aria-label":
"Python that reproduces this view","data-testid":"code"});const m=t("input",{type:"text","data-testid":"path",
placeholder:h,spellcheck:"false"});const u=t("div",{class:"mn-note","data-testid":"saved",role:"status"}),p=t("input",
{type:"checkbox","data-testid":"overwrite"});const f=()=>o("save",{path:m.value,overwrite:p.checked});m.onkeydown=t=>{
if(t.key==="Enter")f()};const g=(e,s,n,i="")=>t("button",{type:"button",class:`mn-button ${i}`,"data-testid":e,text:s,
onclick:n});const w=async t=>{const s=t.currentTarget;await i(d.value,d);e(s,"Copied");setTimeout(()=>e(s,"Copy"),
1500)};const b=t("div",{},t("div",{class:"mn-buttons"},g("svg","Figure (SVG)",()=>n(`${r()}.svg`,"image/svg+xml",l().
text)),g("png","Figure (PNG)",async()=>n(`${r()}.png`,"image/png",await E(l()))),g("csv","Data (CSV)",()=>n(`${r(
)}.csv`,"text/csv",c()))),t("div",{class:"mn-saverow"},a("Save the labelled data on the kernel’s machine as",m),g(
"save","Save",f),t("label",{class:"mn-check"},p,"replace what is there")),u);const v=t("details",{class:"mn-more",
"data-testid":"export"},t("summary",{text:"Export and code"}),b,t("div",{class:"mn-side-head"},t("span",{class:
"mn-label",text:"Python that reproduces this view"}),g("copy","Copy",w,"mn-small")),d);const x=()=>{const t=s.get(
"saved");e(u,t.text??"");u.classList.toggle("mn-bad",t.ok===false);d.value=s.get("code");d.rows=d.value.split("\n").
length+1};return{element:v,files:b,draw:x}};const A=(t,e)=>{const{rows:s,columns:n}=t.grid,i=(e,i)=>e>=0&&e<s&&i>=0&&
i<n&&t.cone(e,i),{cw:o,ch:a}=t;e.lineWidth=1;const r=o>=6&&a>=6,l=new Path2D;for(let c=0;c<s;c++)for(let s=0;s<n;s++){
if(!i(c,s))continue;const n=s*o,h=t.y(c),d=t.grid.flip?c+1:c-1,m=t.grid.flip?c-1:c+1;if(r){const i=t.grid.colour?t.
grid.colour(c,s,t.theme)??t.theme.missing:t.theme.missing;e.fillStyle=u(i)>.45?"rgba(0,0,0,.62)":
"rgba(255,255,255,.75)";e.fillRect(n+o/2-1,h+a/2-1,2,2)}if(!i(d,s)){l.moveTo(n,h+.5);l.lineTo(n+o,h+.5)}if(!i(m,s)){l.
moveTo(n,h+a-.5);l.lineTo(n+o,h+a-.5)}if(!i(c,s-1)){l.moveTo(n+.5,h);l.lineTo(n+.5,h+a)}if(!i(c,s+1)){l.moveTo(n+o-.5,
h);l.lineTo(n+o-.5,h+a)}}e.strokeStyle=t.theme.background;e.lineWidth=3;e.stroke(l);e.strokeStyle=t.theme.text;e.
lineWidth=1.25;e.stroke(l)};const O={minWidth:3,maxWidth:46,minHeight:3,maxHeight:22,label:11};class _{constructor({
label:e,testid:s,name:n,hover:i=()=>{},select:o=()=>{},key:a=()=>false}){Object.assign(this,{name:n,onHover:i,
onSelect:o,onKey:a});this.focus={row:0,column:0};this.hovered=null;this.selected=null;this.cone=null;this.marks=[];
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
){const{rows:t,columns:e,rowLabels:s,columnLabels:n}=this.grid,i=this.base.getContext("2d");i.font=`${O.
label}px ${this.theme.mono}`;const o=t=>Math.max(0,...t.slice(0,2e3).map(t=>i.measureText(t).width));this.left=Math.
ceil(o(s))+(this.grid.rowTitle?26:10);const a=Math.max(60,this.width-this.left-4);const r=e*t>2e4;this.cw=this.grid.
cellWidth??Math.max(r?1:O.minWidth,Math.min(O.maxWidth,Math.floor(a/e)));if(!this.grid.cellWidth&&e<=400)this.cw=Math.
max(this.cw,Math.min(12,O.maxWidth));this.cw=Math.max(1,Math.min(this.cw,Math.floor(12e3/e)));const l=this.grid.
height??430;this.ch=this.grid.cellHeight??Math.max(r?1:O.minHeight,Math.min(O.maxHeight,Math.floor(l/t)));this.ch=
Math.max(1,Math.min(this.ch,Math.floor(12e3/t)));const c=n.map(t=>x(t.text,20)),h=o(c);this.turned=h+6>this.cw;this.
every=this.turned?Math.max(1,Math.ceil((O.label+2)/this.cw)):1;this.rowEvery=Math.max(1,Math.ceil((O.label+2)/this.
ch));this.plotWidth=this.cw*e;this.plotHeight=this.ch*t;this.lean=this.turned?Math.ceil(h*.5)+8:0;this.bottom=(this.
turned?Math.ceil(h*.87)+14:20)+(this.grid.columnTitle?16:0);this.turnedTexts=c}size(t,e,s){const n=Math.min(window.
devicePixelRatio||1,e*s>4e6?1:3);t.width=Math.max(1,Math.round(e*n));t.height=Math.max(1,Math.round(s*n));t.style.
width=`${e}px`;t.style.height=`${s}px`;const i=t.getContext("2d");i.setTransform(n,0,0,n,0,0);i.clearRect(0,0,e,s);
return i}y(t){return(this.grid.flip?this.grid.rows-1-t:t)*this.ch}draw(){if(!this.grid||!this.element.
isConnected)return;this.theme=g(this.element);this.layout();const{rows:t,columns:e,columnLabels:s,rowLabels:n}=this.
grid,{theme:i}=this;const o=this.size(this.base,this.plotWidth+this.lean,this.plotHeight+this.bottom);this.size(this.
overlay,this.plotWidth,this.plotHeight);if(this.grid.image){o.imageSmoothingEnabled=false;o.drawImage(this.grid.image(
i),0,0,this.plotWidth,this.plotHeight)}else this.drawCells(o);o.strokeStyle=i.muted;o.globalAlpha=.5;o.lineWidth=1;o.
strokeRect(.5,.5,this.plotWidth-1,this.plotHeight-1);o.globalAlpha=1;o.textBaseline="middle";for(let t=0;t<e;t+=this.
every){const{strong:e}=s[t],n=(t+.5)*this.cw;o.font=`${e?"bold ":""}${O.label}px ${i.mono}`;o.fillStyle=e?i.accent:i.
text;o.save();if(this.turned){o.translate(n-2,this.plotHeight+6);o.rotate(Math.PI/3);o.textAlign="left"}else{o.
translate(n,this.plotHeight+10);o.textAlign="center"}o.fillText(this.turnedTexts[t],0,0);o.restore()}o.fillStyle=i.
muted;o.font=`${O.label}px ${i.font}`;if(this.grid.columnTitle){o.textAlign="left";o.fillText(this.grid.columnTitle,0,
this.plotHeight+this.bottom-8)}const a=this.size(this.rowLabels,this.left,this.plotHeight+this.bottom);a.textAlign=
"right";a.textBaseline="middle";a.fillStyle=i.text;a.font=`${O.label}px ${i.mono}`;for(let e=0;e<t;e+=this.rowEvery)a.
fillText(n[e],this.left-5,this.y(e)+this.ch/2);if(this.grid.rowTitle){a.save();a.translate(8,this.plotHeight/2);a.
rotate(-Math.PI/2);a.textAlign="center";a.fillStyle=i.muted;a.font=`${O.label}px ${i.font}`;a.fillText(this.grid.
rowTitle,0,0);a.restore()}this.drawOverlay();this.announce()}drawCells(e){const{rows:s,columns:n,colour:i}=this.grid,
o=t("canvas",{width:n,height:s}),a=o.getContext("2d");const r=a.createImageData(n,s),l=[];for(let t=0;t<s;t++)for(
let e=0;e<n;e++){const o=i(t,e,this.theme),a=4*((this.grid.flip?s-1-t:t)*n+e),[c,h,d]=o??this.theme.missing;if(!o&&l.
length<2e4)l.push([t,e]);r.data[a]=c;r.data[a+1]=h;r.data[a+2]=d;r.data[a+3]=255}a.putImageData(r,0,0);e.
imageSmoothingEnabled=false;e.drawImage(o,0,0,this.plotWidth,this.plotHeight);if(this.cw<5||this.ch<5)return;e.
strokeStyle=this.theme.background;e.globalAlpha=.55;e.lineWidth=1.5;e.beginPath();for(const[t,s]of l){const n=s*this.
cw,i=this.y(t);e.moveTo(n,i+this.ch);e.lineTo(n+this.cw,i)}e.stroke();e.globalAlpha=1}drawOverlay(){if(!this.grid||
!this.cw)return;const t=this.overlay.getContext("2d"),{cw:e,ch:s,theme:n}=this;t.clearRect(0,0,this.plotWidth,this.
plotHeight);if(this.cone)A(this,t);const i=(i,o,a,r=[])=>{if(!i)return;const l=i.column*e,c=this.y(i.row);t.
setLineDash(r);for(const[i,r]of[[n.background,2],[o,0]]){t.strokeStyle=i;t.lineWidth=a+r;t.strokeRect(l+1,c+1,Math.
max(e-2,1),Math.max(s-2,1))}t.setLineDash([])};for(const i of this.marks){const o=i.column*e+e/2,a=this.y(i.row)+s/2,
r=Math.max(2,Math.min(4,e/4,s/4));t.beginPath();t.arc(o,a,r,0,7);t.fillStyle=n.background;t.fill();t.lineWidth=1.5;t.
strokeStyle=n.text;t.stroke()}i(this.hovered,n.text,1);i(this.linked,n.text,1,[3,2]);if(document.activeElement===this.
element)i(this.focus,n.accent,2,[4,2]);i(this.selected,n.text,2.5)}at(t){if(!this.grid)return null;const e=this.
overlay.getBoundingClientRect(),s=Math.floor((t.clientX-e.left)/this.cw),n=Math.floor((t.clientY-e.top)/this.ch);if(s<
0||s>=this.grid.columns||n<0||n>=this.grid.rows)return null;return{row:this.grid.flip?this.grid.rows-1-n:n,column:
s}}mousemove(t){const e=this.at(t);if(e&&this.hovered&&e.row===this.hovered.row&&e.column===this.hovered.
column)return;this.hovered=e;this.drawOverlay();this.onHover(e);if(e)this.showTip(e);else this.hideTip()}showTip(e){
if(!this.grid.tip)return;const s=this.grid.tip(e.row,e.column);this.tip.replaceChildren(...s.map(([e,s])=>t("div",{},
e?t("span",{class:"mn-tip-label",text:`${e} `}):null,t("span",{text:s}))));this.tip.hidden=false;const n=this.element.
getBoundingClientRect(),i=this.overlay.getBoundingClientRect();const o=i.left-n.left+(e.column+1)*this.cw+8,a=i.top-n.
top+this.y(e.row)+this.ch+6;const r=o+this.tip.offsetWidth>n.width?o-this.cw-this.tip.offsetWidth-16:o;const l=a+this.
tip.offsetHeight>n.height?a-this.ch-this.tip.offsetHeight-12:a;this.tip.style.left=`${Math.max(0,r)}px`;this.tip.
style.top=`${Math.max(0,l)}px`}hideTip(){this.tip.hidden=true}showFocus(){this.drawOverlay();this.announce()}announce(
){const{row:t,column:e}=this.focus;this.cellRow.setAttribute("aria-rowindex",(this.grid.flip?this.grid.rows-1-t:t)+1);
this.cell.setAttribute("aria-colindex",e+1);this.cell.setAttribute("aria-selected",String(!!this.selected&&this.
selected.row===t&&this.selected.column===e));const s=this.name(t,e);this.cell.setAttribute("aria-label",s)}choose(){
this.selected={...this.focus};this.onSelect(this.selected);this.drawOverlay();this.announce()}keydown(t){if(!this.
grid||t.ctrlKey||t.altKey||t.metaKey)return;const e=this.grid.flip?1:-1,{rows:s,columns:n}=this.grid,i={...this.
focus};const o={ArrowUp:[e,0],ArrowDown:[-e,0],ArrowLeft:[0,-1],ArrowRight:[0,1],PageUp:[5*e,0],PageDown:[-5*e,0],
Home:[0,-n],End:[0,n]};if(t.key in o){i.row+=o[t.key][0];i.column+=o[t.key][1]}else if(t.key==="Enter"||t.key===" "){
this.choose()}else if(t.key==="Escape"){this.hideTip();return}else{if(this.onKey(t.key,this.focus)){t.preventDefault(
);t.stopPropagation()}return}t.preventDefault();t.stopPropagation();this.focus={row:Math.min(s-1,Math.max(0,i.row)),
column:Math.min(n-1,Math.max(0,i.column))};this.reveal();this.drawOverlay();this.announce();this.onHover(this.focus);
this.showTip(this.focus)}reveal(){const t=this.focus.column*this.cw,e=this.scroller;if(t<e.scrollLeft)e.scrollLeft=t-
20;else if(t+this.cw>e.scrollLeft+e.clientWidth)e.scrollLeft=t+this.cw-e.clientWidth+20;const s=this.y(this.focus.
row);if(s<e.scrollTop)e.scrollTop=s;else if(s+this.ch>e.scrollTop+e.clientHeight&&e.scrollHeight>e.clientHeight)e.
scrollTop=s+this.ch-e.clientHeight}}const H=(e,s,n)=>t("div",{class:"mn-predictions"},t("h4",{text:e}),t("ol",{},...s.
map(([e,s])=>{const[i,o,a=""]=n.get(e)??[];return t("li",{},t("span",{class:"mn-p-bar",style:`width:${(100*s).toFixed(
1)}%`}),t("code",{text:x(v(e),18),title:v(e)}),i?t("span",{class:`mn-tag ${a}`,text:i,title:o,"aria-label":o}):null,t(
"span",{class:"mn-p",text:$(s)}))})));const R=t=>{if(!t)return new Float32Array(0);const e=t instanceof ArrayBuffer?
new DataView(t):t;const s=e.byteOffset%4?e.buffer.slice(e.byteOffset,e.byteOffset+e.byteLength):e.buffer;
return new Float32Array(s,e.byteOffset%4?0:e.byteOffset,Math.floor(e.byteLength/4))};const W=t=>{const e=[];return{
undo:e,send:(e,s={})=>t.send({type:e,...s}),listen:(s,n)=>{for(const i of s){t.on(`change:${i}`,n);e.push(()=>t.off(
`change:${i}`,n))}},set:e=>{for(const[s,n]of Object.entries(e))t.set(s,n);t.save_changes()}}};const F=(e,s,n)=>{
const i={},a={range:true,number:true};const r=(t,s)=>{const n=typeof e.get(t);return n==="boolean"?s.checked:n!==
"number"?s.value:s.value===""?NaN:Number(s.value)};const l=(t,e)=>{if(t.type==="checkbox")t.checked=e;else t.value=e};
const c=(t,o)=>{i[t]=o;o.setAttribute("data-testid",t);let c,h,d=0;const m=()=>{clearTimeout(h);const s=d-Date.now();
if(s>0){h=setTimeout(m,s);return}if(r(t,o)!==e.get(t)){l(o,e.get(t));o.dispatchEvent(new Event("pulled"))}};m();s([t],
m);const u=()=>{clearTimeout(c);const s=r(t,o);if(!Number.isNaN(s)&&s!==e.get(t))n({[t]:s})};o.addEventListener(
"change",u);if(o.tagName!=="SELECT"&&o.type!=="checkbox")o.addEventListener("input",()=>{clearTimeout(c);if(a[o.
type]){d=Date.now()+700;u()}else c=setTimeout(u,350)});o.flush=u;return o};return{inputs:i,bound:c,shown:()=>Object.
fromEntries(Object.entries(i).map(([t,e])=>[t,r(t,e)]).filter(([,t])=>!Number.isNaN(t))),flush:()=>{for(
const t of Object.values(i))t.flush()},area:(e,s={})=>c(e,t("textarea",{rows:2,spellcheck:"false",autocapitalize:
"off",...s})),line:(e,s)=>c(e,t("input",{type:"text",spellcheck:"false",autocomplete:"off",placeholder:s})),choose:(e,
s)=>c(e,t("select",{},...s.map(([t,e])=>o(t,e))))}};const j=(e,{send:s,listen:n})=>{const i=t("select",{"data-testid":
"examples","aria-label":"Example shown",onchange:()=>s("example",{number:Number(i.value)})});const a=t("label",{class:
"mn-examples"},t("span",{class:"mn-note",text:"Example"}),i);const r=()=>{const{names:t=[],own:s=false,chosen:n=null}=
e.get("examples");a.hidden=t.length+s<1||t.length===1&&!s&&n===0;i.replaceChildren(...n===null?[o("","choose one …")]:
[],...t.map((t,e)=>o(String(e),t)),...s?[o("-1","your last input")]:[]);i.value=n===null?"":String(n)};n(["examples"],
r);r();return a};const D=(s,n,{send:i,listen:o},{start:a,label:r,help:l,stop:c,unit:h})=>{const d=t("button",{class:
"mn-button mn-primary",type:"button","data-testid":"run",text:r,title:`${l} (Ctrl+Enter)`,onclick:a});const m=t(
"button",{class:"mn-button",type:"button","data-testid":"stop",text:"Stop",title:c,onclick:()=>i("stop")});const u=t(
"div",{class:"mn-progress-fill"}),p=t("span",{class:"mn-note","data-testid":"progress",role:"status"});const f=t(
"div",{class:"mn-progress",role:"progressbar","aria-label":h,"aria-valuemin":0,"aria-valuemax":100},u);const g=t(
"div",{class:"mn-error",role:"alert","data-testid":"error",hidden:true});const w=()=>{const i=s.get("status"),o=s.get(
"progress"),a=o.total?Math.round(100*o.done/o.total):0,r=s.get("error");m.disabled=i!=="running";n.setAttribute(
"data-status",i);f.hidden=i!=="running"&&i!=="stopping";u.style.width=`${a}%`;f.setAttribute("aria-valuenow",a);e(p,o.
text??"");g.hidden=!r.text;g.replaceChildren(...r.text?[t("strong",{text:r.title}),t("pre",{text:r.text})]:[])};o([
"status","progress","error"],w);w();const b=t("div",{class:"mn-run"},d,m,t("div",{class:"mn-status"},f,p));return{run:
d,row:b,error:g}};const P=(e,{title:n,testid:i,name:o,kind:a,data:r,start:l,label:d="Run",help:m,stop:u,unit:p})=>{
const f=W(e);const b=t("span",{class:"mn-chip","data-testid":"model",text:r??e.get("model_info").text});const v=t(
"div",{class:`mnemoscope ${a}`,"data-testid":i,"data-lm-suppress-shortcuts":"true",role:"region","aria-label":o});
const{run:x,row:y,error:$}=D(e,v,f,{start:l,label:d,help:m,stop:u,unit:p});v.addEventListener("keydown",t=>{if(t.
key!=="Enter"||!(t.ctrlKey||t.metaKey))return;t.preventDefault();t.stopPropagation();x.click()});const k=(i,{parts:o,
drawer:a,box:r,draw:l})=>{const d=t("header",{class:"mn-header"},t("h2",{text:n}),t("div",{class:"mn-about"},j(e,f),
b));v.append(d,...o.filter(t=>t),a.element);c(i,v);const m=()=>{v.setAttribute("data-dark",g(v).dark);l()};f.listen([
"saved","code"],a.draw);f.undo.push(w(m),s(v,r,m),h(e.get("static_key")));a.draw();return()=>{for(const t of f.undo)t(
)}};return{...f,root:v,line:b,run:x,row:y,error:$,open:k}};const I="own pairs",z=400;const B=t=>S(t)?"–":(t>0?"+":"")+
y(t);const q=t=>S(t)?"–":(t>0?"+":t<0?"−":"")+Math.abs(100*t).toFixed(0);const K=t=>`${(100*t).toFixed(0)}`;const J=(
t,e)=>t[0]===e[0]&&t[1]===e[1];const U=t=>{if(!t?.shape)return null;const e={...t,at:(e,s)=>e*t.shape[1]+s};for(
const s of t.sides)for(const n of["","_low","_high","_p_holm"])e[s+n]=t[s+n]?R(t[s+n]):null;return e};const V=t=>{
let e="model,layer,head,mean_effect_probability,low,high,p_holm,prompts\r\n";for(const s of t.sides)for(let n=0;n<t.
shape[0];n++)for(let i=0;i<t.shape[1];i++){const o=t.at(n,i);e+=k([t.names[s],t.rows[n],t.columns[i],t[s][o],t[
`${s}_low`]?.[o]??NaN,t[`${s}_high`]?.[o]??NaN,t[`${s}_p_holm`]?.[o]??NaN,t.n])}return e};const X=t=>{const e=t.
replace(/\r\n?/g,"\n").split("\n").filter(t=>t.trim());if(!t.includes("\t")&&e.length<2)return null;const s=t.
includes("\t")?/\t/:e.every(t=>/\s*->\s*/.test(t))?/\s*->\s*/:e.every(t=>t.includes(";"))?/;\s*/:/,\s*/;return e.map(
t=>{const e=t.split(s);return[e[0].trim(),e.slice(1).join(" ").trim()]})};const Y=s=>{const n=t("tbody"),i=t("div",{
class:"mn-note"});const o=t("div",{class:"mn-pairs","data-testid":"pairs"},t("table",{"aria-label":
"Pairs of input and output"},t("thead",{},t("tr",{},t("th",{scope:"col","aria-label":"row"}),t("th",{scope:"col",text:
"input"}),t("th",{scope:"col",text:"output"}),t("th",{scope:"col","aria-label":"remove"}))),n),i);let a=[],r=new Map,
l;const c=()=>[...n.rows].map(t=>[...t.querySelectorAll("input")]);const h=()=>c().map(t=>t.map(t=>t.value));const d=(
)=>{const t=h();while(t.length&&t.at(-1).every(t=>!t.trim()))t.pop();return[...t,...a.slice(z)]};const m=()=>{
clearTimeout(l);l=undefined;const t=d();if(JSON.stringify(t)!==JSON.stringify(a)){a=t;s(t)}};const u=()=>{
clearTimeout(l);l=setTimeout(m,450)};const p=(t,e)=>{const s=c()[t]?.[e];if(s){s.focus();s.select()}};const f=t=>{
const e=c(),s=e.findIndex(e=>e.includes(t));return[s,e[s].indexOf(t)]};const g=(e,i)=>{const o=(o,l)=>t("input",{type:
"text",spellcheck:"false",autocomplete:"off",autocapitalize:"off",value:e[o],"aria-label":`${l} ${i+1}`,oninput:()=>{
const[t]=f(r.querySelector("input"));if(t===n.rows.length-1&&h()[t].some(t=>t))n.append(g(["",""],t+1));u()},onchange:
m,onkeydown:t=>{const[e,s]=f(t.currentTarget),n={Enter:1,ArrowDown:1,ArrowUp:-1}[t.key];if(!n||t.ctrlKey||t.metaKey||
t.altKey)return;t.preventDefault();t.stopPropagation();p(e+n,s);if(t.key==="Enter")m()},onpaste:t=>{const e=X(t.
clipboardData?.getData("text/plain")??"");if(!e)return;t.preventDefault();const[i,o]=f(t.currentTarget),r=h();e.
forEach((t,e)=>{const s=r[i+e]??["",""];r[i+e]=o===0||t[1]?t:[s[0],t[0]]});const l=[...r.filter(t=>t.some(t=>t.trim(
))),...a.slice(z)];a=l;w();s(l);p(Math.min(i+e.length,n.rows.length-1),0)}});const r=t("tr",{},t("td",{text:String(i+
1)}),t("td",{},o(0,"input")),t("td",{},o(1,"output")),t("td",{},t("button",{type:"button",class:"mn-remove",text:"×",
"aria-label":`Remove row ${i+1}`,title:"Remove this row",onclick:()=>{const[t]=f(r.querySelector("input"));const e=d(
).filter((e,s)=>s!==t);a=e;w();s(e);p(Math.min(t,n.rows.length-1),0)}})));return r};const w=()=>{n.replaceChildren(
...a.slice(0,z).map(g),...a.length<z?[g(["",""],a.length)]:[]);e(i,a.length>z?` … and ${a.length-
z} more, used as well`:"");b(r)};const b=t=>{r=t;[...n.rows].forEach((t,e)=>{const s=r.get(e)??"";t.classList.toggle(
"mn-wrong",!!s);for(const e of t.querySelectorAll("input")){e.title=s;e.setAttribute("aria-invalid",String(!!s))}})};
return{element:o,flush:m,mark:b,update:t=>{if(l!==undefined||JSON.stringify(t)===JSON.stringify(d())){if(l===
undefined)a=t;return}a=t;w()},draw:()=>w()}};const G={low:-4,high:8,step:.25};const Q=["template","seed","k",
"by_hand","layer","strength","queries"];function Z({model:s,el:n}){const i=s.get("model_info"),r=s.get("after_info"),
l=s.get("names");const c=P(s,{title:"Vector bench",testid:"vector-bench",name:"Vector bench",kind:"mn-vectors",label:
"Find heads",help:"Measure every head’s effect",stop:"Stop after the layer in progress; finished layers stay",unit:
"Layers computed",data:r.name?`${i.text} | ${r.text}`:i.text,start:()=>{R.flush();k();h("run",{fields:w()})}});const{
send:h,listen:d,root:m,row:u,error:p}=c;const f=t=>{const e="k"in t?{...t,by_hand:false}:t;for(const[t,n]of Object.
entries(e))s.set(t,n);h("move",{fields:{...w(),...e}});Dt()};const{bound:g,shown:w,flush:k,choose:E}=F(s,d,f);const A=
(e,s)=>g(e,t("input",{type:"number",step:1,...s}));const O=t("select",{"data-testid":"task",onchange:()=>h("task",{
name:O.value})},...s.get("tasks").map(t=>o(t,t.replace(/_/g," "))),o(I,"own pairs (type or paste below)"));const R=Y(
t=>{s.set("pairs",t);h("move",{fields:{pairs:t}});Dt()});const W=t("div",{class:"mn-tablenotes","data-testid":
"table-notes",role:"status"});const j=()=>{const e=s.get("table");O.value=s.get("task");R.mark(new Map((e.wrong??[]).
map(t=>[t.row,t.text])));W.replaceChildren(...(e.wrong??[]).slice(0,3).map(e=>t("div",{class:"mn-bad",text:e.text})),
...(e.wrong??[]).length>3?[t("div",{class:"mn-bad",text:`… and ${e.wrong.length-3} more rows`})]:[],...e.error?[t(
"div",{class:e.pairs?"mn-bad":"mn-note","data-testid":"table-error",text:e.error})]:[],...e.splits?[t("div",{class:
"mn-note",text:e.splits})]:[],...(e.notes??[]).map(e=>t("div",{class:"mn-warning",text:e})))};const D=t("div",{class:
"mn-form"},t("div",{},a("Task",O),R.element,W),t("div",{},t("div",{class:"mn-controls"},a("Template",E("template",s.
get("templates").map(t=>[t,t]))),a("Demonstrations",A("shots",{min:1})),a("Prompts for means",A("mean_prompts",{min:
1})),a("Prompts for effects",A("trials",{min:1})),a("Seed",A("seed",{min:0}))),t("p",{class:"mn-note",text:
"Every head’s output at the last token of prompts with shuffled labels is replaced by its mean "+
"over prompts with right ones; its effect is the change of the answer’s probability."}),t("div",{class:"mn-controls",
style:"margin-top:8px"},u),p));let z=null,X=null;const Z=t("div",{class:"mn-caption","data-testid":"caption"}),tt=t(
"div",{class:"mn-warning","data-testid":"stale",hidden:true}),et=t("div",{class:"mn-warning","data-testid":
"map-notes",hidden:true});const st=new b("colour-bar"),nt=t("div",{class:"mn-empty","data-testid":"empty"},t("strong",
{text:"No head map yet"}),t("p",{text:
"“Find heads” measures how much each attention head tells the model what the task is. The "+
"strongest heads’ outputs add up to a vector that can be added to a prompt without any "+"demonstration."}));const it=
()=>s.get("by_hand")?s.get("heads"):s.get("live").heads??[];const ot=(t,e)=>it().some(s=>J(s,[z.rows[t],z.columns[
e]]));const at=(t,e)=>z.sides.flatMap(s=>{const n=z.at(t,e),i=z[`${s}_low`],o=z[`${s}_p_holm`],a=z.sides.length>1?
`${s}: `:"";return[[`${a}effect`,B(z[s][n])],...i&&!S(i[n])?[[`${a}95 %`,`${B(i[n])} to ${B(z[`${s}_high`][n])}`]]:[],
...o&&!S(o[n])?[[`${a}p (Holm)`,o[n]<.001?"< 0.001":y(o[n])]]:[]]});const rt=t=>(e,s)=>z?[`layer ${z.rows[
e]}, head ${z.columns[s]}`,...z.sides.length>1?[`map of ${l[t]}`]:[],...at(e,s).map(([t,e])=>`${t} ${e}`),ot(e,s)?
"chosen":"not chosen"].join(", "):"";const lt=t=>{const e=it(),s=e.filter(e=>!J(e,t));f({by_hand:true,heads:s.length<
e.length?s:[...e,t]});Lt()};const ct=t=>e=>{if(t.grid){t.linked=e;t.drawOverlay()}};const ht=(t,e,s)=>new _({label:
`${l[t]}: effect of every head on the answer’s probability. Arrow keys move, Enter chooses `+
`a head or leaves it out.`,testid:e,name:rt(t),select:t=>{if(z)lt([z.rows[t.row],z.columns[t.column]])},hover:t=>ct(s(
))(t)});const dt=ht("before","map",()=>mt),mt=ht("after","after-map",()=>dt);const ut=t("h4",{"data-testid":
"map-title"}),pt=t("h4",{"data-testid":"after-title"}),ft=t("div",{},pt,mt.element);const gt=t("div",{class:
"mn-maps"},t("div",{},ut,dt.element),ft);const wt=t("ul",{class:"mn-chips","data-testid":"chips"}),bt=t("h4",{
"data-testid":"chosen-title"}),vt=t("div",{"data-testid":"decoded"});const xt=t("div",{},bt,t("p",{class:"mn-note",
text:"Click a cell of the map to add a head or to leave it out."}),wt),yt=t("div",{class:"mn-found"},gt,xt);const $t=
g("k",t("input",{type:"range",min:1,max:40,step:1,"aria-label":"Number of strongest heads"})),kt=t("output",{class:
"mn-p","data-testid":"k-text"});const Mt=t("button",{type:"button",class:"mn-button mn-small","data-testid":"top",
text:"Back to the strongest heads",onclick:()=>{f({k:Number($t.value)});Lt()}});$t.max=Math.max(1,Math.min(60,i.
layers*i.heads||60));const St=t("section",{class:"mn-section","aria-label":"Heads"},t("div",{class:"mn-side-head"},t(
"h3",{text:"Heads that carry the task"}),st.element),nt,Z,et,tt,yt);const Tt=(t,e)=>({rows:z.shape[0],columns:z.shape[
1],rowLabels:z.rows.map(String),columnLabels:z.columns.map(t=>({text:String(t)})),rowTitle:"layer",columnTitle:"head",
flip:true,colour:(s,n,i)=>{const o=z[t][z.at(s,n)];return Number.isNaN(o)?null:i.diverging(.5+o/e/2)},tip:(t,e)=>[["",
`layer ${z.rows[t]}, head ${z.columns[e]}`],...at(t,e),["",ot(t,e)?"chosen: Enter or click leaves it out":
"Enter or click chooses it"]]});const Lt=()=>{const n=it(),i=s.get("by_hand");Mt.hidden=!i||!z;e(bt,`${T(n.length,
"head")} in the vector${i?", chosen by hand":""}`);e(kt,i?`${$t.value} (now by hand: ${n.length})`:String($t.value));
wt.replaceChildren(...n.map(([e,s])=>t("li",{},t("button",{type:"button",text:`${e}.${s}`,title:
`Leave out layer ${e}, head ${s}`,"aria-label":`${e}.${s}: leave out layer ${e}, head ${s}`,onclick:()=>lt([e,
s])}))));if(!z)return;for(const t of[dt,mt])if(t.grid){t.selected=null;t.marks=n.map(([t,e])=>({row:z.rows.indexOf(t),
column:z.columns.indexOf(e)})).filter(t=>t.row>=0&&t.column>=0);t.drawOverlay();t.announce()}};const Et=()=>{if(!m.
isConnected)return;nt.hidden=!!z;for(const t of[Z,yt,st.element,Vt.files])t.hidden=!z;if(!z){tt.hidden=et.hidden=true;
Lt();return}const t=z.sides.length>1,n=Math.max(...z.sides.map(t=>M(z[t])))||1,i=St.clientWidth||600,o=t&&i>620;
const a=t||i<700;yt.classList.toggle("mn-under",a);gt.classList.toggle("mn-two",o);ft.hidden=!t;const r=o?(i-24)/2:a?
i:Math.min(i-250,620);for(const[t,e]of[[dt,"before"],[mt,"after"]])if(z[e])t.update(Tt(e,n),r);for(const[t,s]of[[ut,
"before"],[pt,"after"]])e(t,`${l[s]}`+`${S(z.bases[s])?"":` · with shuffled labels the answer has ${$(z.bases[
s])}`}`);e(Z,`${z.task}, template ${z.template}, ${T(z.shots,"demonstration")} · mean over `+`${T(z.n,"prompt")}${z.
complete?"":" · partial"}`);const c={...w(),task:s.get("task")},h=Object.entries(z.fields).filter(([t,e])=>String(
e)!==String(c[t])).map(([t])=>t);tt.hidden=!h.length;e(et,z.notes.join(" "));et.hidden=!z.notes.length;e(tt,
`This map was measured with another `+`${h.join(", ").replace("trials","number of prompts").replace("shots",
"number of demonstrations")}`+`; the vector is still made from it. “Find heads” measures anew.`);const d=
"effect on the answer’s probability";st.update({ramp:dt.theme.diverging,low:y(-n),middle:"0",high:B(n),title:d});X=(
)=>C(z.sides.map(t=>L(Tt(t,n),{title:x(l[t],44),subtitle:x(`${z.task}, ${z.template}, ${z.n} prompts`,60),bar:
"effect on p(answer)",limit:n})));Lt()};const Ct=()=>{z=U(s.get("map"));Et()};const Nt=g("layer",t("input",{type:
"range",min:0,max:Math.max(0,i.layers-1),step:1,"aria-label":"Layer"})),At=t("output",{class:"mn-p","data-testid":
"layer-text"});const Ot=g("strength",t("input",{type:"number",step:G.step,"aria-label":"Strength, any number"}));
const _t=t("input",{type:"range",min:G.low,max:G.high,step:G.step,"data-testid":"strength-slider","aria-label":
`Strength, ${G.low} to ${G.high}`});_t.oninput=()=>{Ot.value=_t.value;Ot.dispatchEvent(new Event("input"))};const Ht=(
)=>{_t.value=Ot.value;e(At,`${Nt.value} of ${Math.max(0,i.layers-1)}`);if(!s.get("by_hand"))e(kt,$t.value)};for(
const t of[Nt,Ot,$t])for(const e of["input","pulled"])t.addEventListener(e,Ht);const Rt=t("div",{class:"mn-controls"},
t("div",{class:"mn-field mn-slide"},t("span",{class:"mn-label"},"Strongest heads ",kt),$t),t("div",{class:
"mn-field mn-slide"},t("span",{class:"mn-label"},"Added after layer ",At),Nt),t("div",{class:"mn-field mn-slide"},t(
"span",{class:"mn-label",text:"Strength (× the vector)"}),t("div",{class:"mn-both"},_t,Ot)),a("Prompts",A("queries",{
min:1,max:64})),Mt);const Wt=t("div",{class:"mn-read","data-testid":"read"}),Ft=t("span",{class:"mn-note"});const jt=
t("section",{class:"mn-section mn-live","data-testid":"live","aria-label":"The vector on bare prompts"},t("div",{
class:"mn-side-head"},t("h3",{text:"The vector on bare prompts"}),Ft),Rt,Wt);const Dt=()=>{const t=s.get("live").
fields,e={...w(),by_hand:s.get("by_hand")};jt.setAttribute("data-fresh",String(!!t&&Q.every(s=>String(t[s])===String(
e[s]))&&(!s.get("by_hand")||JSON.stringify(s.get("heads"))===JSON.stringify(s.get("live").heads))))};const Pt=e=>e?t(
"span",{class:"mn-share",title:`${e.k} of ${e.n} right; 95 % interval ${K(e.low)} to ${K(e.high)} %`},t("span",{class:
"mn-track","aria-hidden":"true"},t("span",{class:"mn-fill",style:`width:${100*e.k/e.n}%`}),t("span",{class:"mn-range",
style:`left:${100*e.low}%;width:${100*(e.high-e.low)}%`})),t("span",{text:`${e.k} of ${e.n} (${K(e.low)}–${K(e.
high)} %)`})):"–";const It=(...e)=>t("thead",{},t("tr",{},...e.map(e=>t("th",{scope:"col",text:e}))));const zt=(e,s)=>
e?t("td",{class:e[1]?"mn-right":"mn-not"},t("code",{text:x(v(s??e[0]),26),title:v(s??e[0]),"aria-label":`${v(s??e[
0])}${e[1]?", right":""}`})):t("td",{text:"–"});const Bt=()=>{const n=s.get("live"),i=s.get("samples");jt.
setAttribute("data-status",n.status??"empty");e(Ft,n.what??"");Dt();if(n.status==="error"){Wt.replaceChildren(t("div",
{class:"mn-error",role:"alert","data-testid":"live-error"},t("strong",{text:n.title}),t("pre",{text:n.text})));
return}if(!n.sides){Wt.replaceChildren(t("div",{class:"mn-empty"},t("strong",{text:n.status==="running"?
"Reading the prompts …":"Nothing to read yet"}),t("p",{text:n.text??""})));return}const o=i.rows&&JSON.stringify([i.
fields,i.heads])===JSON.stringify([n.fields,n.heads])?i.rows:[],a=n.sides.length>1;const r=t("table",{class:
"mn-table","data-testid":"accuracy"},It(a?"model":"","without the vector","with the vector",
"mean p of the first token"),t("tbody",{},...n.sides.map(e=>t("tr",{},t("th",{scope:"row",text:a?l[e.side]:
"right answers"}),t("td",{},Pt(e.base)),t("td",{},Pt(e.with)),t("td",{text:`${$(e.prob[0])}${S(e.prob[1])?"":` → ${$(
e.prob[1])}`}`})))));const c=t("table",{class:"mn-table mn-answers","data-testid":"answers"},It("input","expected",
...n.sides.flatMap(t=>a?[`${t.side}, without`,`${t.side}, with`]:["without the vector","with the vector"])),t("tbody",
{},...n.items.map((e,s)=>t("tr",{},t("th",{scope:"row"},t("code",{text:x(v(e.x),24),title:v(e.x)})),t("td",{},t(
"code",{text:x(v(e.y),20),title:v(e.y)})),...e.sides.flatMap((t,e)=>[zt(t.base,o[s]?.sides[e]?.base),zt(t.with,o[
s]?.sides[e]?.with)])))));vt.replaceChildren(...n.decoded?[H("what the vector says by itself",n.decoded.slice(0,8),
new Map),t("p",{class:"mn-note",text:"read through the model’s last layer: a hint, no test"}),t("p",{class:"mn-note",
text:`length ${y(n.norm)}`}),...S(n.cosine)?[]:[t("p",{"data-testid":"cosine",text:
`cosine with the vector of the same heads in ${l.after}: ${y(n.cosine)}`})]]:[t("p",{class:"mn-note",text:n.text??
""})]);Wt.replaceChildren(t("div",{},t("div",{class:"mn-tablebox"},r),t("div",{class:"mn-tablebox"},c),t("p",{class:
"mn-note",text:`validation prompts without demonstrations; ✓ the whole answer is the greedy one; most likely `+
`next token${o.length?", the first rows continued":""}`}),...i.text?[t("div",{class:"mn-warning",text:i.text})]:[],
...n.warning?[t("div",{class:"mn-warning","data-testid":"live-warning",text:n.warning})]:[]),vt)};const qt=t("button",
{type:"button",class:"mn-button","data-testid":"test",text:"Report on test",title:
"Read the prompts that were kept apart, once you have chosen",onclick:()=>{R.flush();k();h("test",{fields:w()})}}),Kt=
t("div",{"data-testid":"report"});const Jt=t("section",{class:"mn-section","aria-label":"Test"},t("div",{class:
"mn-side-head"},t("h3",{text:"On the test split"}),qt),Kt);const Ut=()=>{const e=s.get("report");Jt.setAttribute(
"data-status",e.status??"idle");qt.disabled=e.status==="running";if(e.status==="error"){Kt.replaceChildren(t("div",{
class:"mn-error",role:"alert","data-testid":"report-error"},t("strong",{text:e.title}),t("pre",{text:e.text})));
return}if(!e.rows){Kt.replaceChildren(t("p",{class:"mn-note",text:e.status==="running"?"Reading the test prompts …":
"Choose heads, layer and strength above first. The test split then says how well they do "+
"on pairs that nothing was chosen by, beside a random vector of the same length."}));return}const n=new Set(e.rows.
map(t=>t.side)).size>1,i=t=>S(t)?"–":t<.001?"< 0.001":y(t);const o=(t,e)=>S(t[`${e}difference`])?"–":`${q(t[
`${e}difference`])} (`+(S(t[`${e}difference_low`])?"no interval":`${q(t[`${e}difference_low`])} to ${q(t[
`${e}difference_high`])}`)+`)`;Kt.replaceChildren(t("p",{class:"mn-note",text:e.what}),t("div",{class:"mn-tablebox"},
t("table",{class:"mn-table mn-answers"},It(...n?["model"]:[],"","right answers","against no vector, points","p"),t(
"tbody",{},...e.rows.map(e=>t("tr",{},...n?[t("th",{scope:"row",text:l[e.side]})]:[],t("th",{scope:"row",text:e.
name}),t("td",{},Pt(e)),t("td",{text:o(e,"")}),t("td",{text:i(e.p)})))))),...e.rows.filter(t=>!S(t.
control_difference)).map(e=>t("p",{text:`${n?`${l[e.side]}: `:""}vector against the random one: ${o(e,"control_")} `+
`points, p ${i(e.control_p)}`})),t("p",{class:"mn-note",text:`${T(e.n,
"test prompt")}, 95 % intervals: exact for accuracies, paired bootstrap for `+`differences; p ${e.p_kinds}. Read ${e.
times===1?"once":`${e.times} times`} for this task`+`${e.times>1?
": what is chosen by looking here is no longer tested by it":""}.`}))};const Vt=N(s,(t,e)=>h(t,{...e,fields:w()}),{
stem:()=>`heads_${z.task.replace(/[^\w-]+/g,"_")}`,figure:()=>X(),table:()=>V(z),example:
"heads.zarr, heads.nc, heads.csv, heads.parquet"});Vt.files.querySelector(".mn-saverow").prepend(t("div",{},a("Save",
E("holds",[["heads","effects of the heads"],["test","answers on the test split"]]))));d(["pairs"],()=>R.update(s.get(
"pairs")));d(["table","task"],()=>{j();Et()});d(["live"],()=>{Bt();Lt()});d(["samples"],Bt);d(["map"],Ct);d([
"report"],Ut);d(["by_hand","heads"],()=>{Lt();Dt()});d(["k","layer","strength","template","shots","seed","trials"],(
)=>{Ht();Et();Dt()});m.addEventListener("input",()=>{Ht();Dt()});const Xt=c.open(n,{parts:[D,St,jt,Jt],drawer:Vt,box:
St,draw:Et});R.update(s.get("pairs"));R.draw();Ht();j();Bt();Ct();Ut();return Xt}var tt={render:Z};export{
tt as default};
