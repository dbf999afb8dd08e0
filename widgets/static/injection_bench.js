// Built by npm run build from 14 files, sha256 7a8f3c0325134acc86a1cbfb8de516d4147681901f3c6e07258b169cf2a8980f
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
text:s});const a=(e,s,n)=>t("label",{class:"mn-field"},t("span",{class:"mn-label",text:e}),s,null);let r=0;const l=t=>
`mn-${t}-${++r}-${Math.random().toString(36).slice(2,7)}`;const c=(t,e)=>{t.append(e);e.addEventListener(
"pointerdown",t=>{const e=t.button===0&&t.target.closest("button");if(!e||e.disabled)return;const s=n=>{if(n.
pointerId!==t.pointerId)return;document.removeEventListener("pointerup",s,true);document.removeEventListener(
"pointercancel",s,true);const o=Math.hypot(n.clientX-t.clientX,n.clientY-t.clientY)<6;if(n.type==="pointerup"&&o&&!e.
contains(n.target)&&e.isConnected)e.click()};document.addEventListener("pointerup",s,true);document.addEventListener(
"pointercancel",s,true)})};const h=e=>{if(!e||!/^[\w-]+$/.test(e))return()=>{};const s=t("style",{text:
`.jp-OutputArea-child:has(.mnemoscope-static-${e}), .mnemoscope-static-${e} { display: none `+`!important; }`});
document.head.append(s);return()=>s.remove()};const d=t=>[1,3,5].map(e=>parseInt(t.slice(e,e+2),16));const m=([t,e,
s])=>`rgb(${Math.round(t)},${Math.round(e)},${Math.round(s)})`;const u=([t,e,s])=>(.2126*t+.7152*e+.0722*s)/255;
const p=t=>{const e=t.map(d),s=e.length-1;return t=>{const n=Math.min(1,Math.max(0,t))*s,o=Math.min(s-1,Math.floor(
n)),i=n-o;return e[o].map((t,s)=>t+i*(e[o+1][s]-t))}};const f={light:{diverging:p(["#0a3a75","#2f7fc1","#a6cdec",
"#f9f9f7","#fbc98f","#dd7f1d","#853703"]),single:p(["#f9f9f7","#b9d8ee","#5a9fd4","#1f62a6","#08264f"]),missing:[214,
214,214],ink:"#1c1c1c"},dark:{diverging:p(["#a9d6ff","#4a9be0","#22507d","#202328","#7a4515","#dd8430","#ffd0a0"]),
single:p(["#202328","#1d4a73","#2f7fc1","#7cbcf0","#e6f4ff"]),missing:[78,82,88],ink:"#f2f2f2"}};const g=e=>{const s=
getComputedStyle(e.closest(".mnemoscope")??e);const n=(t,e)=>s.getPropertyValue(t).trim()||e;const o=t("canvas",{
width:1,height:1}).getContext("2d",{willReadFrequently:true});o.fillStyle="#ffffff";o.fillStyle=s.backgroundColor;o.
fillRect(0,0,1,1);const i=[...o.getImageData(0,0,1,1).data].slice(0,3),a=u(i)<.4;const r=a?f.dark:f.light;return{dark:
a,...r,page:i,text:s.color,muted:n("--mn-muted","#666"),accent:n("--mn-accent","#0b6bcb"),background:s.
backgroundColor,font:n("--mn-font","system-ui, sans-serif"),mono:n("--mn-mono","monospace")}};const w=t=>{const e=
new MutationObserver(()=>requestAnimationFrame(t));for(const t of[document.documentElement,document.body])e.observe(t,
{attributes:true,attributeFilter:["class","style","data-jp-theme-name","data-jp-theme-light",
"data-vscode-theme-kind"]});const s=matchMedia("(prefers-color-scheme: dark)");s.addEventListener("change",t);return(
)=>{e.disconnect();s.removeEventListener("change",t)}};class b{constructor(e){this.canvas=t("canvas",{width:128,
height:8,"aria-hidden":"true"});this.low=t("span");this.middle=t("span");this.high=t("span");this.title=t("div",{
class:"mn-bar-title"});this.element=t("div",{class:"mn-bar",role:"img","data-testid":e},this.title,this.canvas,t(
"div",{class:"mn-bar-ends"},this.low,this.middle,this.high))}update({ramp:t,low:s,middle:n="",high:o,title:i}){
const a=this.canvas.getContext("2d");for(let e=0;e<128;e++){a.fillStyle=m(t(e/127));a.fillRect(e,0,1,8)}e(this.low,s);
e(this.middle,n);e(this.high,o);e(this.title,i);this.element.setAttribute("aria-label",
`Colour scale: ${i}, from ${s} to ${o}`)}}const v=t=>{if(t==="")return"∅";return t.replace(/ /g,"·").replace(/\r?\n/g,
"⏎").replace(/\t/g,"⇥").replace(/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,t=>`‹${t.
codePointAt(0).toString(16).padStart(4,"0")}›`)};const y=(t,e)=>[...t].length>e?[...t].slice(0,e-1).join("")+"…":t;
const x=t=>{if(t===null||t===undefined||Number.isNaN(t))return"no value";if(!Number.isFinite(t))return t>0?"∞":"−∞";
const e=Math.abs(t);const s=e===0?"0":e>=1e5||e<1e-4?e.toExponential(2):e>=100?e.toFixed(1):e>=1?e.toFixed(2):e.
toFixed(3);return(t<0&&Number(s)!==0?"−":"")+s};const k=t=>(t>=.1?(100*t).toFixed(0):t>=.001?(100*t).toFixed(1):
"<0.1")+"%";const $=t=>t.map(t=>typeof t==="string"?`"${t.replace(/"/g,'""')}"`:Number.isNaN(t)?"":String(t)).join(
",")+"\r\n";const M=t=>{let e=0;for(const s of t){const t=Math.abs(s);if(t>e&&Number.isFinite(t))e=t}return e};
const S=t=>t===null||t===undefined||Number.isNaN(t);const T=(t,{title:e,subtitle:s,bar:n,limit:o,low:i=x(-o)})=>{
const a="http://www.w3.org/2000/svg",r=f.light;const l=(t,e,s)=>{const n=document.createElementNS(a,t);for(const[t,
s]of Object.entries(e))n.setAttribute(t,s);if(s!==undefined)n.textContent=s;return n};const c=t.columnLabels.map(t=>y(
t.text,24)),h=Math.max(4,Math.min(26,900/t.columns)),d=Math.max(4,Math.min(14,600/t.rows));const u=Math.max(1,Math.
ceil(11/h)),p=Math.max(1,Math.ceil(11/d)),g=Math.max(1,...c.map(t=>[...t].length))*6.1,w=g+4>h;const b=46,v=48,k=b+
h*t.columns+Math.max(20,g*.55)+70,$=v+d*t.rows+g*.87+36;const M=l("svg",{xmlns:a,width:Math.ceil(k),height:Math.ceil(
$),viewBox:`0 0 ${Math.ceil(k)} ${Math.ceil($)}`,"font-family":"DejaVu Sans, Arial, sans-serif","font-size":10});M.
append(l("rect",{width:"100%",height:"100%",fill:"#ffffff"}),l("text",{x:b,y:18,"font-size":12,"font-weight":"bold"},
e),l("text",{x:b,y:34,fill:"#555555"},s));const S=e=>v+(t.flip?t.rows-1-e:e)*d;for(let e=0;e<t.rows;e++)for(let s=0;s<
t.columns;s++)M.append(l("rect",{x:(b+s*h).toFixed(2),y:S(e).toFixed(2),width:(h+.2).toFixed(2),height:(d+.2).toFixed(
2),fill:m(t.colour(e,s,r)??r.missing)}));M.append(l("rect",{x:b,y:v,width:h*t.columns,height:d*t.rows,fill:"none",
stroke:"#888888","stroke-width":.75}));for(let e=0;e<t.rows;e+=p)M.append(l("text",{x:b-4,y:S(e)+d/2+3.5,
"text-anchor":"end"},t.rowLabels[e]));const T=v+d*t.rows;for(let e=0;e<t.columns;e+=u){const s=b+(e+.5)*h-(w?2:0);M.
append(l("text",{transform:`translate(${s.toFixed(1)} ${T+(w?9:13)})${w?" rotate(60)":""}`,"text-anchor":w?"start":
"middle","font-family":"DejaVu Sans Mono, monospace","font-weight":t.columnLabels[e].strong?"bold":"normal"},c[e]))}M.
append(l("text",{transform:`translate(12 ${v+d*t.rows/2}) rotate(-90)`,"text-anchor":"middle",fill:"#555555"},t.
rowTitle),l("text",{x:b,y:$-8,fill:"#555555"},t.columnTitle));const L=b+h*t.columns+14,E=60,j=Math.min(160,d*t.rows);
for(let t=0;t<E;t++)M.append(l("rect",{x:L,y:v+j*t/E,width:9,height:j/E+.3,fill:m(r.diverging(1-t/(E-1)))}));for(
const[t,e]of[[x(o),0],["0",.5],[i,1]])M.append(l("text",{x:L+13,y:v+j*e+4},t));M.append(l("text",{transform:
`translate(${L+50} ${v+j/2}) rotate(90)`,"text-anchor":"middle",fill:"#555555"},n));return{text:(new XMLSerializer).
serializeToString(M),width:Math.ceil(k),height:Math.ceil($)}};const L=(e,s=3)=>new Promise((n,o)=>{const i=new Image;
i.onload=()=>{const o=t("canvas",{width:e.width*s,height:e.height*s});const a=o.getContext("2d");a.scale(s,s);a.
drawImage(i,0,0);o.toBlob(n,"image/png")};i.onerror=()=>o(new Error("the browser could not draw the figure"));i.src=
"data:image/svg+xml;charset=utf-8,"+encodeURIComponent(e.text)});const E=t=>{const e=t.reduce((t,e)=>t+e.width,0),s=
Math.max(...t.map(t=>t.height));let n=0;const o=t.map(t=>{const e=n;n+=t.width;return t.text.replace("<svg ",
`<svg x="${e}" `)}).join("");return{text:
`<svg xmlns="http://www.w3.org/2000/svg" width="${e}" height="${s}" viewBox="0 0 ${e} `+
`${s}"><rect width="100%" height="100%" fill="#ffffff"/>${o}</svg>`,width:e,height:s}};const j=(s,i,{stem:r,figure:l,
table:c,example:h})=>{const d=t("textarea",{class:"mn-code",readonly:true,rows:12,spellcheck:"false","aria-label":
"Python that reproduces this view","data-testid":"code"});const m=t("input",{type:"text","data-testid":"path",
placeholder:h,spellcheck:"false"});const u=t("div",{class:"mn-note","data-testid":"saved",role:"status"}),p=t("input",
{type:"checkbox","data-testid":"overwrite"});const f=()=>i("save",{path:m.value,overwrite:p.checked});m.onkeydown=t=>{
if(t.key==="Enter")f()};const g=(e,s,n,o="")=>t("button",{type:"button",class:`mn-button ${o}`,"data-testid":e,text:s,
onclick:n});const w=async t=>{const s=t.currentTarget;await o(d.value,d);e(s,"Copied");setTimeout(()=>e(s,"Copy"),
1500)};const b=t("div",{},t("div",{class:"mn-buttons"},g("svg","Figure (SVG)",()=>n(`${r()}.svg`,"image/svg+xml",l().
text)),g("png","Figure (PNG)",async()=>n(`${r()}.png`,"image/png",await L(l()))),g("csv","Data (CSV)",()=>n(`${r(
)}.csv`,"text/csv",c()))),t("div",{class:"mn-saverow"},a("Save the labelled data on the kernel’s machine as",m),g(
"save","Save",f),t("label",{class:"mn-check"},p,"replace what is there")),u);const v=t("details",{class:"mn-more",
"data-testid":"export"},t("summary",{text:"Export and code"}),b,t("div",{class:"mn-side-head"},t("span",{class:
"mn-label",text:"Python that reproduces this view"}),g("copy","Copy",w,"mn-small")),d);const y=()=>{const t=s.get(
"saved");e(u,t.text??"");u.classList.toggle("mn-bad",t.ok===false);d.value=s.get("code");d.rows=d.value.split("\n").
length+1};return{element:v,files:b,draw:y}};const A=(t,e)=>{const{rows:s,columns:n}=t.grid,o=(e,o)=>e>=0&&e<s&&o>=0&&
o<n&&t.cone(e,o),{cw:i,ch:a}=t;e.lineWidth=1;const r=i>=6&&a>=6,l=new Path2D;for(let c=0;c<s;c++)for(let s=0;s<n;s++){
if(!o(c,s))continue;const n=s*i,h=t.y(c),d=t.grid.flip?c+1:c-1,m=t.grid.flip?c-1:c+1;if(r){const o=t.grid.colour?t.
grid.colour(c,s,t.theme)??t.theme.missing:t.theme.missing;e.fillStyle=u(o)>.45?"rgba(0,0,0,.62)":
"rgba(255,255,255,.75)";e.fillRect(n+i/2-1,h+a/2-1,2,2)}if(!o(d,s)){l.moveTo(n,h+.5);l.lineTo(n+i,h+.5)}if(!o(m,s)){l.
moveTo(n,h+a-.5);l.lineTo(n+i,h+a-.5)}if(!o(c,s-1)){l.moveTo(n+.5,h);l.lineTo(n+.5,h+a)}if(!o(c,s+1)){l.moveTo(n+i-.5,
h);l.lineTo(n+i-.5,h+a)}}e.strokeStyle=t.theme.background;e.lineWidth=3;e.stroke(l);e.strokeStyle=t.theme.text;e.
lineWidth=1.25;e.stroke(l)};const C={minWidth:3,maxWidth:46,minHeight:3,maxHeight:22,label:11};class N{constructor({
label:e,testid:s,name:n,hover:o=()=>{},select:i=()=>{},key:a=()=>false}){Object.assign(this,{name:n,onHover:o,
onSelect:i,onKey:a});this.focus={row:0,column:0};this.hovered=null;this.selected=null;this.cone=null;this.marks=[];
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
){const{rows:t,columns:e,rowLabels:s,columnLabels:n}=this.grid,o=this.base.getContext("2d");o.font=`${C.
label}px ${this.theme.mono}`;const i=t=>Math.max(0,...t.slice(0,2e3).map(t=>o.measureText(t).width));this.left=Math.
ceil(i(s))+(this.grid.rowTitle?26:10);const a=Math.max(60,this.width-this.left-4);const r=e*t>2e4;this.cw=this.grid.
cellWidth??Math.max(r?1:C.minWidth,Math.min(C.maxWidth,Math.floor(a/e)));if(!this.grid.cellWidth&&e<=400)this.cw=Math.
max(this.cw,Math.min(12,C.maxWidth));this.cw=Math.max(1,Math.min(this.cw,Math.floor(12e3/e)));const l=this.grid.
height??430;this.ch=this.grid.cellHeight??Math.max(r?1:C.minHeight,Math.min(C.maxHeight,Math.floor(l/t)));this.ch=
Math.max(1,Math.min(this.ch,Math.floor(12e3/t)));const c=n.map(t=>y(t.text,20)),h=i(c);this.turned=h+6>this.cw;this.
every=this.turned?Math.max(1,Math.ceil((C.label+2)/this.cw)):1;this.rowEvery=Math.max(1,Math.ceil((C.label+2)/this.
ch));this.plotWidth=this.cw*e;this.plotHeight=this.ch*t;this.lean=this.turned?Math.ceil(h*.5)+8:0;this.bottom=(this.
turned?Math.ceil(h*.87)+14:20)+(this.grid.columnTitle?16:0);this.turnedTexts=c}size(t,e,s){const n=Math.min(window.
devicePixelRatio||1,e*s>4e6?1:3);t.width=Math.max(1,Math.round(e*n));t.height=Math.max(1,Math.round(s*n));t.style.
width=`${e}px`;t.style.height=`${s}px`;const o=t.getContext("2d");o.setTransform(n,0,0,n,0,0);o.clearRect(0,0,e,s);
return o}y(t){return(this.grid.flip?this.grid.rows-1-t:t)*this.ch}draw(){if(!this.grid||!this.element.
isConnected)return;this.theme=g(this.element);this.layout();const{rows:t,columns:e,columnLabels:s,rowLabels:n}=this.
grid,{theme:o}=this;const i=this.size(this.base,this.plotWidth+this.lean,this.plotHeight+this.bottom);this.size(this.
overlay,this.plotWidth,this.plotHeight);if(this.grid.image){i.imageSmoothingEnabled=false;i.drawImage(this.grid.image(
o),0,0,this.plotWidth,this.plotHeight)}else this.drawCells(i);i.strokeStyle=o.muted;i.globalAlpha=.5;i.lineWidth=1;i.
strokeRect(.5,.5,this.plotWidth-1,this.plotHeight-1);i.globalAlpha=1;i.textBaseline="middle";for(let t=0;t<e;t+=this.
every){const{strong:e}=s[t],n=(t+.5)*this.cw;i.font=`${e?"bold ":""}${C.label}px ${o.mono}`;i.fillStyle=e?o.accent:o.
text;i.save();if(this.turned){i.translate(n-2,this.plotHeight+6);i.rotate(Math.PI/3);i.textAlign="left"}else{i.
translate(n,this.plotHeight+10);i.textAlign="center"}i.fillText(this.turnedTexts[t],0,0);i.restore()}i.fillStyle=o.
muted;i.font=`${C.label}px ${o.font}`;if(this.grid.columnTitle){i.textAlign="left";i.fillText(this.grid.columnTitle,0,
this.plotHeight+this.bottom-8)}const a=this.size(this.rowLabels,this.left,this.plotHeight+this.bottom);a.textAlign=
"right";a.textBaseline="middle";a.fillStyle=o.text;a.font=`${C.label}px ${o.mono}`;for(let e=0;e<t;e+=this.rowEvery)a.
fillText(n[e],this.left-5,this.y(e)+this.ch/2);if(this.grid.rowTitle){a.save();a.translate(8,this.plotHeight/2);a.
rotate(-Math.PI/2);a.textAlign="center";a.fillStyle=o.muted;a.font=`${C.label}px ${o.font}`;a.fillText(this.grid.
rowTitle,0,0);a.restore()}this.drawOverlay();this.announce()}drawCells(e){const{rows:s,columns:n,colour:o}=this.grid,
i=t("canvas",{width:n,height:s}),a=i.getContext("2d");const r=a.createImageData(n,s),l=[];for(let t=0;t<s;t++)for(
let e=0;e<n;e++){const i=o(t,e,this.theme),a=4*((this.grid.flip?s-1-t:t)*n+e),[c,h,d]=i??this.theme.missing;if(!i&&l.
length<2e4)l.push([t,e]);r.data[a]=c;r.data[a+1]=h;r.data[a+2]=d;r.data[a+3]=255}a.putImageData(r,0,0);e.
imageSmoothingEnabled=false;e.drawImage(i,0,0,this.plotWidth,this.plotHeight);if(this.cw<5||this.ch<5)return;e.
strokeStyle=this.theme.background;e.globalAlpha=.55;e.lineWidth=1.5;e.beginPath();for(const[t,s]of l){const n=s*this.
cw,o=this.y(t);e.moveTo(n,o+this.ch);e.lineTo(n+this.cw,o)}e.stroke();e.globalAlpha=1}drawOverlay(){if(!this.grid||
!this.cw)return;const t=this.overlay.getContext("2d"),{cw:e,ch:s,theme:n}=this;t.clearRect(0,0,this.plotWidth,this.
plotHeight);if(this.cone)A(this,t);const o=(o,i,a,r=[])=>{if(!o)return;const l=o.column*e,c=this.y(o.row);t.
setLineDash(r);for(const[o,r]of[[n.background,2],[i,0]]){t.strokeStyle=o;t.lineWidth=a+r;t.strokeRect(l+1,c+1,Math.
max(e-2,1),Math.max(s-2,1))}t.setLineDash([])};for(const o of this.marks){const i=o.column*e+e/2,a=this.y(o.row)+s/2,
r=Math.max(2,Math.min(4,e/4,s/4));t.beginPath();t.arc(i,a,r,0,7);t.fillStyle=n.background;t.fill();t.lineWidth=1.5;t.
strokeStyle=n.text;t.stroke()}o(this.hovered,n.text,1);o(this.linked,n.text,1,[3,2]);if(document.activeElement===this.
element)o(this.focus,n.accent,2,[4,2]);o(this.selected,n.text,2.5)}at(t){if(!this.grid)return null;const e=this.
overlay.getBoundingClientRect(),s=Math.floor((t.clientX-e.left)/this.cw),n=Math.floor((t.clientY-e.top)/this.ch);if(s<
0||s>=this.grid.columns||n<0||n>=this.grid.rows)return null;return{row:this.grid.flip?this.grid.rows-1-n:n,column:
s}}mousemove(t){const e=this.at(t);if(e&&this.hovered&&e.row===this.hovered.row&&e.column===this.hovered.
column)return;this.hovered=e;this.drawOverlay();this.onHover(e);if(e)this.showTip(e);else this.hideTip()}showTip(e){
if(!this.grid.tip)return;const s=this.grid.tip(e.row,e.column);this.tip.replaceChildren(...s.map(([e,s])=>t("div",{},
e?t("span",{class:"mn-tip-label",text:`${e} `}):null,t("span",{text:s}))));this.tip.hidden=false;const n=this.element.
getBoundingClientRect(),o=this.overlay.getBoundingClientRect();const i=o.left-n.left+(e.column+1)*this.cw+8,a=o.top-n.
top+this.y(e.row)+this.ch+6;const r=i+this.tip.offsetWidth>n.width?i-this.cw-this.tip.offsetWidth-16:i;const l=a+this.
tip.offsetHeight>n.height?a-this.ch-this.tip.offsetHeight-12:a;this.tip.style.left=`${Math.max(0,r)}px`;this.tip.
style.top=`${Math.max(0,l)}px`}hideTip(){this.tip.hidden=true}showFocus(){this.drawOverlay();this.announce()}announce(
){const{row:t,column:e}=this.focus;this.cellRow.setAttribute("aria-rowindex",(this.grid.flip?this.grid.rows-1-t:t)+1);
this.cell.setAttribute("aria-colindex",e+1);this.cell.setAttribute("aria-selected",String(!!this.selected&&this.
selected.row===t&&this.selected.column===e));const s=this.name(t,e);this.cell.setAttribute("aria-label",s)}choose(){
this.selected={...this.focus};this.onSelect(this.selected);this.drawOverlay();this.announce()}keydown(t){if(!this.
grid||t.ctrlKey||t.altKey||t.metaKey)return;const e=this.grid.flip?1:-1,{rows:s,columns:n}=this.grid,o={...this.
focus};const i={ArrowUp:[e,0],ArrowDown:[-e,0],ArrowLeft:[0,-1],ArrowRight:[0,1],PageUp:[5*e,0],PageDown:[-5*e,0],
Home:[0,-n],End:[0,n]};if(t.key in i){o.row+=i[t.key][0];o.column+=i[t.key][1]}else if(t.key==="Enter"||t.key===" "){
this.choose()}else if(t.key==="Escape"){this.hideTip();return}else{if(this.onKey(t.key,this.focus)){t.preventDefault(
);t.stopPropagation()}return}t.preventDefault();t.stopPropagation();this.focus={row:Math.min(s-1,Math.max(0,o.row)),
column:Math.min(n-1,Math.max(0,o.column))};this.reveal();this.drawOverlay();this.announce();this.onHover(this.focus);
this.showTip(this.focus)}reveal(){const t=this.focus.column*this.cw,e=this.scroller;if(t<e.scrollLeft)e.scrollLeft=t-
20;else if(t+this.cw>e.scrollLeft+e.clientWidth)e.scrollLeft=t+this.cw-e.clientWidth+20;const s=this.y(this.focus.
row);if(s<e.scrollTop)e.scrollTop=s;else if(s+this.ch>e.scrollTop+e.clientHeight&&e.scrollHeight>e.clientHeight)e.
scrollTop=s+this.ch-e.clientHeight}}const O=t=>{if(!t)return new Float32Array(0);const e=t instanceof ArrayBuffer?
new DataView(t):t;const s=e.byteOffset%4?e.buffer.slice(e.byteOffset,e.byteOffset+e.byteLength):e.buffer;
return new Float32Array(s,e.byteOffset%4?0:e.byteOffset,Math.floor(e.byteLength/4))};const H=t=>{const e=[];return{
undo:e,send:(e,s={})=>t.send({type:e,...s}),listen:(s,n)=>{for(const o of s){t.on(`change:${o}`,n);e.push(()=>t.off(
`change:${o}`,n))}},set:e=>{for(const[s,n]of Object.entries(e))t.set(s,n);t.save_changes()}}};const W=(e,s,n)=>{
const o={},a={range:true,number:true};const r=(t,s)=>{const n=typeof e.get(t);return n==="boolean"?s.checked:n!==
"number"?s.value:s.value===""?NaN:Number(s.value)};const l=(t,e)=>{if(t.type==="checkbox")t.checked=e;else t.value=e};
const c=(t,i)=>{o[t]=i;i.setAttribute("data-testid",t);let c,h,d=0;const m=()=>{clearTimeout(h);const s=d-Date.now();
if(s>0){h=setTimeout(m,s);return}if(r(t,i)!==e.get(t)){l(i,e.get(t));i.dispatchEvent(new Event("pulled"))}};m();s([t],
m);const u=()=>{clearTimeout(c);const s=r(t,i);if(!Number.isNaN(s)&&s!==e.get(t))n({[t]:s})};i.addEventListener(
"change",u);if(i.tagName!=="SELECT"&&i.type!=="checkbox")i.addEventListener("input",()=>{clearTimeout(c);if(a[i.
type]){d=Date.now()+700;u()}else c=setTimeout(u,350)});i.flush=u;return i};return{inputs:o,bound:c,shown:()=>Object.
fromEntries(Object.entries(o).map(([t,e])=>[t,r(t,e)]).filter(([,t])=>!Number.isNaN(t))),flush:()=>{for(
const t of Object.values(o))t.flush()},area:(e,s={})=>c(e,t("textarea",{rows:2,spellcheck:"false",autocapitalize:
"off",...s})),line:(e,s)=>c(e,t("input",{type:"text",spellcheck:"false",autocomplete:"off",placeholder:s})),choose:(e,
s)=>c(e,t("select",{},...s.map(([t,e])=>i(t,e))))}};const R=(e,{send:s,listen:n})=>{const o=t("select",{"data-testid":
"examples","aria-label":"Example shown",onchange:()=>s("example",{number:Number(o.value)})});const a=t("label",{class:
"mn-examples"},t("span",{class:"mn-note",text:"Example"}),o);const r=()=>{const{names:t=[],own:s=false,chosen:n=null}=
e.get("examples");a.hidden=t.length+s<1||t.length===1&&!s&&n===0;o.replaceChildren(...n===null?[i("","choose one …")]:
[],...t.map((t,e)=>i(String(e),t)),...s?[i("-1","your last input")]:[]);o.value=n===null?"":String(n)};n(["examples"],
r);r();return a};const _=(s,n,{send:o,listen:i},{start:a,label:r,help:l,stop:c,unit:h})=>{const d=t("button",{class:
"mn-button mn-primary",type:"button","data-testid":"run",text:r,title:`${l} (Ctrl+Enter)`,onclick:a});const m=t(
"button",{class:"mn-button",type:"button","data-testid":"stop",text:"Stop",title:c,onclick:()=>o("stop")});const u=t(
"div",{class:"mn-progress-fill"}),p=t("span",{class:"mn-note","data-testid":"progress",role:"status"});const f=t(
"div",{class:"mn-progress",role:"progressbar","aria-label":h,"aria-valuemin":0,"aria-valuemax":100},u);const g=t(
"div",{class:"mn-error",role:"alert","data-testid":"error",hidden:true});const w=()=>{const o=s.get("status"),i=s.get(
"progress"),a=i.total?Math.round(100*i.done/i.total):0,r=s.get("error");m.disabled=o!=="running";n.setAttribute(
"data-status",o);f.hidden=o!=="running"&&o!=="stopping";u.style.width=`${a}%`;f.setAttribute("aria-valuenow",a);e(p,i.
text??"");g.hidden=!r.text;g.replaceChildren(...r.text?[t("strong",{text:r.title}),t("pre",{text:r.text})]:[])};i([
"status","progress","error"],w);w();const b=t("div",{class:"mn-run"},d,m,t("div",{class:"mn-status"},f,p));return{run:
d,row:b,error:g}};const F=(e,{title:n,testid:o,name:i,kind:a,data:r,start:l,label:d="Run",help:m,stop:u,unit:p})=>{
const f=H(e);const b=t("span",{class:"mn-chip","data-testid":"model",text:r??e.get("model_info").text});const v=t(
"div",{class:`mnemoscope ${a}`,"data-testid":o,"data-lm-suppress-shortcuts":"true",role:"region","aria-label":i});
const{run:y,row:x,error:k}=_(e,v,f,{start:l,label:d,help:m,stop:u,unit:p});v.addEventListener("keydown",t=>{if(t.
key!=="Enter"||!(t.ctrlKey||t.metaKey))return;t.preventDefault();t.stopPropagation();y.click()});const $=(o,{parts:i,
drawer:a,box:r,draw:l})=>{const d=t("header",{class:"mn-header"},t("h2",{text:n}),t("div",{class:"mn-about"},R(e,f),
b));v.append(d,...i.filter(t=>t),a.element);c(o,v);const m=()=>{v.setAttribute("data-dark",g(v).dark);l()};f.listen([
"saved","code"],a.draw);f.undo.push(w(m),s(v,r,m),h(e.get("static_key")));a.draw();return()=>{for(const t of f.undo)t(
)}};return{...f,root:v,line:b,run:y,row:x,error:k,open:$}};const P=(e,s,n)=>t("div",{class:"mn-predictions"},t("h4",{
text:e}),t("ol",{},...s.map(([e,s])=>{const[o,i,a=""]=n.get(e)??[];return t("li",{},t("span",{class:"mn-p-bar",style:
`width:${(100*s).toFixed(1)}%`}),t("code",{text:y(v(e),18),title:v(e)}),o?t("span",{class:`mn-tag ${a}`,text:o,title:
i,"aria-label":i}):null,t("span",{class:"mn-p",text:k(s)}))})));const D=t=>t===null?"–":Math.abs(t)<1e-4?"0":(t>0?"+":
"")+x(t);const I=t=>S(t)?"–":`${x(100*Math.exp(t))}%`;const B=t=>S(t)?"–":`× ${x(Math.exp(t))}`;const z=t=>String(t).
replace("-","−");const K=t=>S(t)?"–":x(t);const U=t=>{if(!t?.shape)return null;const e={...t,memory:O(t.memory),
control:t.control?O(t.control):null};e.at=(e,s)=>e*t.shape[1]+s;return e};const V=t=>{let e=
"layer,strength,condition,injected,change_logprob_nats,logprob_nats,top_token\r\n";for(const s of t.control?["memory",
"control"]:["memory"])for(let n=0;n<t.shape[0];n++)for(let o=0;o<t.shape[1];o++){const i=t[s][t.at(n,o)];e+=$([t.rows[
n],t.columns[o],s,t[`${s}_name`],i,i+t.base,t[`${s}_top`]?.[t.at(n,o)]??""])}return e};const q=e=>t("table",{class:
"mn-table","data-testid":"answer-change"},t("thead",{},t("tr",{},...["","unedited","injected","change"].map(e=>t("th",
{scope:"col",text:e})))),t("tbody",{},...[["probability",I(e.before),I(e.after),B(e.change)],["ln p (nats)",K(e.
before),K(e.after),D(e.change)],...e.tokens>1?[["first token, ln p",K(e.first.before),K(e.first.after),D(e.first.
change)]]:[]].map(([e,...s])=>t("tr",{},t("th",{scope:"row",text:e}),...s.map(e=>t("td",{text:e}))))));const G=e=>{if(
e.status==="error"){return[t("div",{class:"mn-error",role:"alert","data-testid":"live-error"},t("strong",{text:e.
title}),t("pre",{text:e.text}))]}if(!e.before){return[t("div",{class:"mn-empty"},t("strong",{text:e.status===
"running"?"Reading the prompt …":"Nothing to read yet"}),t("p",{text:e.text??""}))]}const s=new Map([...(e.
memory_tokens??[]).map(t=>[t,["M","token of the memory","mn-foil"]]),...e.answer?[[e.answer.token,["A",e.answer.
tokens>1?"first token of the answer":"answer"]]]:[]]);const n=e.after?P("with the injection",e.after,s):t("div",{
class:"mn-predictions"},t("h4",{text:"with the injection"}),t("p",{class:"mn-note",text:e.text}));return[P("unedited",
e.before,s),n,t("div",{class:"mn-answer"},e.answer?t("div",{},t("h4",{text:e.answer.tokens>1?`whole answer ${v(e.
answer.text)}, ${e.answer.tokens} tokens`:`answer ${v(e.answer.text)}`}),q(e.answer)):t("p",{class:"mn-note",text:
"Give an answer to see how its probability changes."}),e.after&&e.kl!==null?t("p",{class:"mn-note",text:
`KL(unedited ‖ injected) over all tokens: ${x(e.kl)} nats`}):null,e.warning?t("div",{class:"mn-warning","data-testid":
"live-warning",text:e.warning}):null,t("p",{class:"mn-note mn-key",text:`ten most likely next tokens`+`${e.answer?e.
answer.tokens>1?" · A first token of the answer":" · A answer":""}`+`${e.memory_tokens?.length?" · M memory":
""}`}))]};const X=[["activation","activation"],["unembed","unembed (as published)"],["embed","embed"],["head",
"one head’s output"]];const Y=[["all","every token"],["not_first","all but the start token"],["last","last token"],[
"subject","the subject’s tokens"]];const J=[["shuffled","another entity"],["random_tokens","random tokens"],[
"random_direction","random direction"]];const Q=["prompt","memory","answer","subject","layer","strength","encoder",
"head","positions","relative"];const Z={low:-10,high:20,step:.25};function tt({model:s,el:n}){const o=e=>t("span",{
class:"mn-note",text:e});const r=F(s,{title:"Injection bench",testid:"injection-bench",name:"Injection bench",kind:
"mn-bench",help:"Compute both maps",stop:"Stop after the layer in progress; finished layers stay",unit:
"Layers computed",start:()=>{k();l("run",{fields:w()})}});const{send:l,listen:c,root:h,row:d,error:m}=r;const u=s.get(
"model_info");const p=t=>{for(const[e,n]of Object.entries(t))s.set(e,n);l("move",{fields:{...w(),...t}});rt()};const{
inputs:f,bound:g,shown:w,flush:k,area:$,line:L,choose:A}=W(s,c,p);const C=s.get("items"),O=t("select",{"data-testid":
"item",onchange:()=>l("item",{index:Number(O.value)})},i("-1","an item …"),...C.map((t,e)=>i(String(e),y(t,80))));
const H=t("div",{class:"mn-note","data-testid":"notes"});const R=t("div",{class:"mn-form"},t("div",{},C.length?a(
"Take from the items given",O):null,a("Prompt",$("prompt",{rows:3})),H),t("div",{class:"mn-pair"},a(
"Memory (what is injected)",L("memory","e.g. “France”")),a("Answer (optional for the lists)",L("answer",
"e.g. “ Paris”, with its space")),t("div",{class:"mn-wide"},a(
"Subject: the words of the prompt that stand for the memory (optional)",L("subject",
"e.g. “the country of the Eiffel Tower”")))));const _=g("layer",t("input",{type:"range",min:0,max:Math.max(0,u.layers-
1),step:1,"aria-label":"Layer"})),P=t("output",{class:"mn-p","data-testid":"layer-text"});const B=g("strength",t(
"input",{type:"number",step:Z.step,"aria-label":"Strength, any number"}));const K=t("span",{class:"mn-label"});
const q=t("input",{type:"range",min:Z.low,max:Z.high,step:Z.step,"data-testid":"strength-slider","aria-label":
`Strength, ${Z.low} to ${Z.high}`});q.oninput=()=>{B.value=q.value;B.dispatchEvent(new Event("input"))};const tt=()=>{
q.value=B.value;e(K,st.checked?"Strength (× the stream’s RMS)":"Strength (× the memory’s vector)");e(P,`${_.
value} of ${Math.max(0,u.layers-1)}`)};for(const t of[_,B])for(const e of["input","pulled"])t.addEventListener(e,tt);
const et=a("Head",A("head",Array.from({length:u.heads},(t,e)=>[String(e),String(e)])));const st=g("relative",t(
"input",{type:"checkbox"}));const nt=t("div",{class:"mn-controls"},t("div",{class:"mn-field mn-slide"},t("span",{
class:"mn-label"},"Layer ",P),_),t("div",{class:"mn-field mn-slide"},K,t("div",{class:"mn-both"},q,B)),a("Encoder",A(
"encoder",X)),et,a("Injected at",A("positions",Y)),t("label",{class:"mn-check",title:
"Strength 1 is then a vector as long as the residual stream is at that layer"},st,
"relative to the residual stream’s RMS"));const ot=t("div",{class:"mn-lists","data-testid":"lists"});const it=t(
"section",{class:"mn-live","data-testid":"live","aria-label":"Next token","aria-live":"polite"},t("div",{class:
"mn-side-head"},t("h3",{text:"Next token"}),t("span",{class:"mn-note",text:""})),ot);const at=it.querySelector(
".mn-note");const rt=()=>{const t=s.get("live").fields,e=w();it.setAttribute("data-fresh",String(!!t&&Q.every(s=>
String(t[s])===String(e[s]))))};const lt=()=>{const t=s.get("live");it.setAttribute("data-status",t.status??"empty");
e(H,t.notes??"");e(at,t.what??"");rt();ot.replaceChildren(...G(t))};const ct=a("Other entity",L("other",
"e.g. “Norway”")),ht=a("Seed",g("seed",t("input",{type:"number",step:1,min:0})));const dt=t("div",{class:
"mn-controls"},a("Control",A("control",J)),ct,ht,a("Strengths (a list, or first:last:step)",L("strengths","-2:8:1")),
d);let mt=null,ut=null;const pt=t("div",{class:"mn-caption","data-testid":"caption"}),ft=t("div",{class:"mn-warning",
"data-testid":"stale",hidden:true});const gt=t("select",{"data-testid":"scale","aria-label":"Colour scale",onchange:(
)=>Wt()},i("gain","scale: largest gain, at least 1 nat"),i("all","scale: largest change"));const wt=new b(
"colour-bar");const bt=t("div",{class:"mn-toolbar"},gt,wt.element);const vt=t("div",{class:"mn-empty","data-testid":
"empty"},t("strong",{text:"No map yet"}),t("p",{text:
"Run injects the memory, and beside it a control, at every layer with every strength, and shows "+
"how far the answer’s log-probability moves. A cell can be clicked as soon as it is there: the "+
"sliders go to it."}));const yt=t=>t==="memory"?"memory":"control";const xt=(t,e)=>{const s=mt.at(t,e),n=[["memory",
`${D(mt.memory[s])} nats`]];if(mt.control)n.push(["control",`${D(mt.control[s])} nats`],["memory − control",`${D(mt.
memory[s]-mt.control[s])} nats`]);n.push(["answer",I(mt.base+mt.memory[s])]);if(mt.memory_top?.[s])n.push([
"most likely",v(mt.memory_top[s])]);return n};const kt=(t,e)=>`layer ${mt.rows[t]}, strength ${z(mt.columns[e])}`;
const $t=t=>(e,s)=>mt?[kt(e,s),`${yt(t)} map`,...xt(e,s).map(([t,e])=>`${t} ${e}`)].join(", "):"";const Mt=t=>{if(
mt)p({layer:mt.rows[t.row],strength:mt.columns[t.column]})};const St=t=>e=>{if(t.grid){t.linked=e;t.drawOverlay()}};
const Tt=(t,e,s)=>new N({label:
`${e}: change of the answer’s log-probability by layer and strength. Arrow keys move, Enter `+`sets the sliders.`,
testid:t==="memory"?"map":"control-map",name:$t(t),select:Mt,hover:t=>St(s())(t)});const Lt=Tt("memory","Memory",()=>
Et),Et=Tt("control","Control",()=>Lt);const jt=t("h4",{"data-testid":"map-title"}),At=t("h4",{"data-testid":
"control-title"});const Ct=t("div",{},At,Et.element),Nt=t("div",{class:"mn-maps"},t("div",{},jt,Lt.element),Ct);
const Ot=t("section",{class:"mn-section","aria-label":"Maps"},t("div",{class:"mn-side-head"},t("h3",{text:
"Every layer and strength"})),dt,m,vt,pt,ft,bt,Nt);const Ht=(t,e)=>({rows:mt.shape[0],columns:mt.shape[1],rowLabels:
mt.rows.map(String),columnLabels:mt.columns.map(t=>({text:z(t)})),rowTitle:"layer",columnTitle:mt.axis,flip:true,
colour:(s,n,o)=>{const i=mt[t][mt.at(s,n)];return Number.isNaN(i)?null:o.diverging(.5+i/e/2)},tip:(t,e)=>[["",kt(t,
e)],...xt(t,e)]});const Wt=()=>{if(!h.isConnected)return;vt.hidden=!!mt;for(const t of[pt,bt,Nt,Vt.files])t.hidden=
!mt;if(!mt){ft.hidden=true;return}const s=mt.control?[mt.memory,mt.control]:[mt.memory],n=Math.max(...s.map(M))||1;
const o=Math.max(0,...s.map(t=>M(t.map(t=>Math.max(t,0))))),i=gt.value==="gain"?Math.max(1,o):n,a=n>i*1.0001;const r=
Ot.clientWidth||600,l=!!mt.control&&r>600,c=l?(r-24)/2:r;Nt.classList.toggle("mn-two",l);Ct.hidden=!mt.control;
const d=w(),m={row:mt.rows.indexOf(d.layer),column:mt.columns.indexOf(d.strength)},u=m.row>=0&&m.column>=0?m:null;for(
const[t,e]of[[Lt,"memory"],[Et,"control"]])if(mt[e]){t.update(Ht(e,i),c);t.selected=u;t.drawOverlay();t.announce()}e(
jt,`memory: ${v(mt.memory_name)}`);e(At,`control: ${mt.control_what}`);e(pt,`${mt.what} · answer ${v(mt.
answer)}, unedited ${I(mt.base)} (${x(mt.base)} `+`nats)`+(S(mt.single)?"":`; after “${v(mt.explicit).replace(/·/g,
" ")}” ${I(mt.single)}`)+`${mt.complete?"":" · partial"}`);const f=Object.entries(mt.fields).filter(([t,e])=>String(
e)!==String(d[t])).map(([t])=>t);ft.hidden=!f.length;ft.replaceChildren(`These maps were computed with another ${f.
join(", ")}. `,t("button",{type:"button",class:"mn-button mn-small","data-testid":"restore",text:
"Back to the maps’ question",onclick:()=>p(mt.fields)}));const g="change of the answer’s log-probability (nats)";
const b=`${a?"≤ ":""}${x(-i)}`;wt.update({ramp:Lt.theme.diverging,low:b,middle:"0",high:D(i),title:g});ut=()=>E([
"memory","control"].filter(t=>mt[t]).map(t=>T(Ht(t,i),{title:y(t==="memory"?`memory: ${v(mt.memory_name)}`:
`control: ${mt.control_what}`,44),subtitle:y(`${mt.model}: ${mt.what}; answer ${v(mt.answer)}`,64),bar:
"change of ln p (nats)",limit:i,low:b})))};const Rt=()=>{mt=U(s.get("map"));Wt()};const _t=t("div",{class:"mn-texts",
"data-testid":"texts"}),Ft=g("new_tokens",t("input",{type:"number",min:1,max:500,step:1}));const Pt=t("button",{type:
"button",class:"mn-button","data-testid":"generate",text:"Generate",onclick:()=>{k();l("generate",{fields:w()})}});
const Dt=()=>{if(s.get("generation").status==="running")l("stop_generation")};const It=t("button",{type:"button",
class:"mn-button","data-testid":"stop-generation",text:"Stop","aria-label":"Stop writing",title:
"Stop after the token in progress; what is written stays (Escape in this section)",onclick:Dt});const Bt=t("span",{
class:"mn-note",role:"status","data-testid":"generation-status"});const zt=t("section",{class:"mn-section",
"data-testid":"generation","aria-label":"Generation",onkeydown:t=>{if(t.key==="Escape"){t.stopPropagation();Dt()}}},t(
"div",{class:"mn-side-head"},t("h3",{text:"What it goes on to say"})),t("div",{class:"mn-controls"},a("New tokens",
Ft),t("div",{class:"mn-both"},Pt,It,Bt),o(
"greedy; “every token” and “all but the start token” include the new ones")),_t);const Kt=(e,s,n)=>t("div",{},t("h4",{
text:e}),t("p",{class:"mn-said","data-testid":`said-${n}`},o(s.prompt),s[n]===undefined?o(s.status==="stopped"?
" (not begun)":" …"):t("strong",{text:s[n]}),s.cut===n?o(" (stopped here)"):null));const Ut=()=>{const n=s.get(
"generation");zt.setAttribute("data-status",n.status??"idle");It.disabled=n.status!=="running";e(Bt,{running:
"writing …",stopping:"stopping …",stopped:"stopped; what was written stays"}[n.status]??"");_t.replaceChildren(...!n.
status?[]:n.status==="error"?[t("div",{class:"mn-error",role:"alert"},t("strong",{text:n.title}),t("pre",{text:n.
text}))]:[Kt("unedited",n,"before"),Kt(`injected: ${n.what}`,n,"after")])};const Vt=j(s,l,{stem:()=>`injection_${mt.
fields.encoder}_${mt.fields.positions}`,figure:()=>ut(),table:()=>V(mt),example:
"injection.zarr, injection.nc, injection.csv, injection.parquet"});const qt=()=>{et.hidden=f.encoder.value!=="head";
ct.hidden=f.control.value!=="shuffled";ht.hidden=f.control.value==="shuffled";for(const t of f.positions.options)t.
disabled=t.value==="subject"&&!f.subject.value.trim();tt()};c(["live"],lt);c(["map"],Rt);c([...Q,"control","other",
"seed","strengths"],()=>{qt();Wt();rt()});c(["generation"],Ut);h.addEventListener("input",()=>{qt();rt()});const Gt=r.
open(n,{parts:[R,nt,it,Ot,zt],drawer:Vt,box:Ot,draw:Wt});qt();lt();Rt();Ut();return Gt}var et={render:tt};export{
et as default};
