// Built by npm run build from 13 files, sha256 2e9ab6f87d32ad2cb5ddada6a8569b93e268454a22524f6342bb5a082a780f1c
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
text:s});const a=(e,s,n)=>t("label",{class:"mn-field"},t("span",{class:"mn-label",text:e}),s,null);let l=0;const r=t=>
`mn-${t}-${++l}-${Math.random().toString(36).slice(2,7)}`;const h=(t,e)=>{t.append(e);e.addEventListener(
"pointerdown",t=>{const e=t.button===0&&t.target.closest("button");if(!e||e.disabled)return;const s=n=>{if(n.
pointerId!==t.pointerId)return;document.removeEventListener("pointerup",s,true);document.removeEventListener(
"pointercancel",s,true);const i=Math.hypot(n.clientX-t.clientX,n.clientY-t.clientY)<6;if(n.type==="pointerup"&&i&&!e.
contains(n.target)&&e.isConnected)e.click()};document.addEventListener("pointerup",s,true);document.addEventListener(
"pointercancel",s,true)})};const c=e=>{if(!e||!/^[\w-]+$/.test(e))return()=>{};const s=t("style",{text:
`.jp-OutputArea-child:has(.mnemoscope-static-${e}), .mnemoscope-static-${e} { display: none `+`!important; }`});
document.head.append(s);return()=>s.remove()};const d=t=>[1,3,5].map(e=>parseInt(t.slice(e,e+2),16));const u=([t,e,
s])=>`rgb(${Math.round(t)},${Math.round(e)},${Math.round(s)})`;const m=([t,e,s])=>(.2126*t+.7152*e+.0722*s)/255;
const f=t=>{const[e,s,n]=t.map(t=>t<=10.3?t/3294.6:((t/255+.055)/1.055)**2.4);const i=.2126*e+.7152*s+.0722*n;
return 1.05/(i+.05)>(i+.05)/.05?"#ffffff":"#000000"};const p=t=>{const e=t.map(d),s=e.length-1;return t=>{const n=
Math.min(1,Math.max(0,t))*s,i=Math.min(s-1,Math.floor(n)),o=n-i;return e[i].map((t,s)=>t+o*(e[i+1][s]-t))}};const g={
light:{diverging:p(["#0a3a75","#2f7fc1","#a6cdec","#f9f9f7","#fbc98f","#dd7f1d","#853703"]),single:p(["#f9f9f7",
"#b9d8ee","#5a9fd4","#1f62a6","#08264f"]),missing:[214,214,214],ink:"#1c1c1c"},dark:{diverging:p(["#a9d6ff","#4a9be0",
"#22507d","#202328","#7a4515","#dd8430","#ffd0a0"]),single:p(["#202328","#1d4a73","#2f7fc1","#7cbcf0","#e6f4ff"]),
missing:[78,82,88],ink:"#f2f2f2"}};const w=e=>{const s=getComputedStyle(e.closest(".mnemoscope")??e);const n=(t,e)=>s.
getPropertyValue(t).trim()||e;const i=t("canvas",{width:1,height:1}).getContext("2d",{willReadFrequently:true});i.
fillStyle="#ffffff";i.fillStyle=s.backgroundColor;i.fillRect(0,0,1,1);const o=[...i.getImageData(0,0,1,1).data].slice(
0,3),a=m(o)<.4;const l=a?g.dark:g.light;return{dark:a,...l,page:o,text:s.color,muted:n("--mn-muted","#666"),accent:n(
"--mn-accent","#0b6bcb"),background:s.backgroundColor,font:n("--mn-font","system-ui, sans-serif"),mono:n("--mn-mono",
"monospace")}};const v=t=>{const e=new MutationObserver(()=>requestAnimationFrame(t));for(const t of[document.
documentElement,document.body])e.observe(t,{attributes:true,attributeFilter:["class","style","data-jp-theme-name",
"data-jp-theme-light","data-vscode-theme-kind"]});const s=matchMedia("(prefers-color-scheme: dark)");s.
addEventListener("change",t);return()=>{e.disconnect();s.removeEventListener("change",t)}};class b{constructor(e){
this.canvas=t("canvas",{width:128,height:8,"aria-hidden":"true"});this.low=t("span");this.middle=t("span");this.high=
t("span");this.title=t("div",{class:"mn-bar-title"});this.element=t("div",{class:"mn-bar",role:"img","data-testid":e},
this.title,this.canvas,t("div",{class:"mn-bar-ends"},this.low,this.middle,this.high))}update({ramp:t,low:s,middle:n=
"",high:i,title:o}){const a=this.canvas.getContext("2d");for(let e=0;e<128;e++){a.fillStyle=u(t(e/127));a.fillRect(e,
0,1,8)}e(this.low,s);e(this.middle,n);e(this.high,i);e(this.title,o);this.element.setAttribute("aria-label",
`Colour scale: ${o}, from ${s} to ${i}`)}}const x=t=>{if(t==="")return"∅";return t.replace(/ /g,"·").replace(/\r?\n/g,
"⏎").replace(/\t/g,"⇥").replace(/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,t=>`‹${t.
codePointAt(0).toString(16).padStart(4,"0")}›`)};const y=(t,e)=>[...t].length>e?[...t].slice(0,e-1).join("")+"…":t;
const k=t=>{if(t===null||t===undefined||Number.isNaN(t))return"no value";if(!Number.isFinite(t))return t>0?"∞":"−∞";
const e=Math.abs(t);const s=e===0?"0":e>=1e5||e<1e-4?e.toExponential(2):e>=100?e.toFixed(1):e>=1?e.toFixed(2):e.
toFixed(3);return(t<0&&Number(s)!==0?"−":"")+s};const M=t=>t.map(t=>typeof t==="string"?`"${t.replace(/"/g,'""')}"`:
Number.isNaN(t)?"":String(t)).join(",")+"\r\n";const $=(t,{title:e,subtitle:s,bar:n,limit:i,low:o=k(-i)})=>{const a=
"http://www.w3.org/2000/svg",l=g.light;const r=(t,e,s)=>{const n=document.createElementNS(a,t);for(const[t,
s]of Object.entries(e))n.setAttribute(t,s);if(s!==undefined)n.textContent=s;return n};const h=t.columnLabels.map(t=>y(
t.text,24)),c=Math.max(4,Math.min(26,900/t.columns)),d=Math.max(4,Math.min(14,600/t.rows));const m=Math.max(1,Math.
ceil(11/c)),f=Math.max(1,Math.ceil(11/d)),p=Math.max(1,...h.map(t=>[...t].length))*6.1,w=p+4>c;const v=46,b=48,x=v+
c*t.columns+Math.max(20,p*.55)+70,M=b+d*t.rows+p*.87+36;const $=r("svg",{xmlns:a,width:Math.ceil(x),height:Math.ceil(
M),viewBox:`0 0 ${Math.ceil(x)} ${Math.ceil(M)}`,"font-family":"DejaVu Sans, Arial, sans-serif","font-size":10});$.
append(r("rect",{width:"100%",height:"100%",fill:"#ffffff"}),r("text",{x:v,y:18,"font-size":12,"font-weight":"bold"},
e),r("text",{x:v,y:34,fill:"#555555"},s));const T=e=>b+(t.flip?t.rows-1-e:e)*d;for(let e=0;e<t.rows;e++)for(let s=0;s<
t.columns;s++)$.append(r("rect",{x:(v+s*c).toFixed(2),y:T(e).toFixed(2),width:(c+.2).toFixed(2),height:(d+.2).toFixed(
2),fill:u(t.colour(e,s,l)??l.missing)}));$.append(r("rect",{x:v,y:b,width:c*t.columns,height:d*t.rows,fill:"none",
stroke:"#888888","stroke-width":.75}));for(let e=0;e<t.rows;e+=f)$.append(r("text",{x:v-4,y:T(e)+d/2+3.5,
"text-anchor":"end"},t.rowLabels[e]));const A=b+d*t.rows;for(let e=0;e<t.columns;e+=m){const s=v+(e+.5)*c-(w?2:0);$.
append(r("text",{transform:`translate(${s.toFixed(1)} ${A+(w?9:13)})${w?" rotate(60)":""}`,"text-anchor":w?"start":
"middle","font-family":"DejaVu Sans Mono, monospace","font-weight":t.columnLabels[e].strong?"bold":"normal"},h[e]))}$.
append(r("text",{transform:`translate(12 ${b+d*t.rows/2}) rotate(-90)`,"text-anchor":"middle",fill:"#555555"},t.
rowTitle),r("text",{x:v,y:M-8,fill:"#555555"},t.columnTitle));const C=v+c*t.columns+14,L=60,S=Math.min(160,d*t.rows);
for(let t=0;t<L;t++)$.append(r("rect",{x:C,y:b+S*t/L,width:9,height:S/L+.3,fill:u(l.diverging(1-t/(L-1)))}));for(
const[t,e]of[[k(i),0],["0",.5],[o,1]])$.append(r("text",{x:C+13,y:b+S*e+4},t));$.append(r("text",{transform:
`translate(${C+50} ${b+S/2}) rotate(90)`,"text-anchor":"middle",fill:"#555555"},n));return{text:(new XMLSerializer).
serializeToString($),width:Math.ceil(x),height:Math.ceil(M)}};const T=(e,s=3)=>new Promise((n,i)=>{const o=new Image;
o.onload=()=>{const i=t("canvas",{width:e.width*s,height:e.height*s});const a=i.getContext("2d");a.scale(s,s);a.
drawImage(o,0,0);i.toBlob(n,"image/png")};o.onerror=()=>i(new Error("the browser could not draw the figure"));o.src=
"data:image/svg+xml;charset=utf-8,"+encodeURIComponent(e.text)});const A=t=>{if(!t)return new Float32Array(0);const e=
t instanceof ArrayBuffer?new DataView(t):t;const s=e.byteOffset%4?e.buffer.slice(e.byteOffset,e.byteOffset+e.
byteLength):e.buffer;return new Float32Array(s,e.byteOffset%4?0:e.byteOffset,Math.floor(e.byteLength/4))};const C=t=>
new Uint8Array(t.buffer??t,t.byteOffset??0,t.byteLength);const L=t=>{const e=[];return{undo:e,send:(e,s={})=>t.send({
type:e,...s}),listen:(s,n)=>{for(const i of s){t.on(`change:${i}`,n);e.push(()=>t.off(`change:${i}`,n))}},set:e=>{for(
const[s,n]of Object.entries(e))t.set(s,n);t.save_changes()}}};const S=(e,s,n,i="")=>t("button",{type:"button",class:
`mn-button ${i}`,"data-testid":e,text:s,onclick:n});const E={svg:"Figure (SVG)",png:"Figure (PNG)",csv:"Data (CSV)",
save:"Save the labelled data on the kernel’s machine as"};const H=(s,o,{stem:l,figure:r,table:h,example:c,labels:d={},
before:u=[],after:m=[]})=>{const f={...E,...d};const p=t("textarea",{class:"mn-code",readonly:true,rows:12,spellcheck:
"false","aria-label":"Python that reproduces this view","data-testid":"code"});const g=t("input",{type:"text",
"data-testid":"path",placeholder:c,spellcheck:"false"});const w=t("div",{class:"mn-note","data-testid":"saved",role:
"status"}),v=t("input",{type:"checkbox","data-testid":"overwrite"});const b=()=>o("save",{path:g.value,overwrite:v.
checked});g.onkeydown=t=>{if(t.key==="Enter")b()};const x=async t=>{const s=t.currentTarget;await i(p.value,p);e(s,
"Copied");setTimeout(()=>e(s,"Copy"),1500)};const y=t("div",{},t("div",{class:"mn-buttons"},...u,S("svg",f.svg,()=>n(
`${l()}.svg`,"image/svg+xml",r().text)),S("png",f.png,async()=>n(`${l()}.png`,"image/png",await T(r()))),S("csv",f.
csv,()=>n(`${l()}.csv`,"text/csv",h())),...m),t("div",{class:"mn-saverow"},a(f.save,g),S("save","Save",b),t("label",{
class:"mn-check"},v,"replace what is there")),w);const k=t("details",{class:"mn-more","data-testid":"export"},t(
"summary",{text:"Export and code"}),y,t("div",{class:"mn-side-head"},t("span",{class:"mn-label",text:
"Python that reproduces this view"}),S("copy","Copy",x,"mn-small")),p);const M=()=>{const t=s.get("saved");e(w,t.
text??"");w.classList.toggle("mn-bad",t.ok===false);p.value=s.get("code");p.rows=p.value.split("\n").length+1};return{
element:k,files:y,draw:M}};const W=(t,e)=>{const{rows:s,columns:n}=t.grid,i=(e,i)=>e>=0&&e<s&&i>=0&&i<n&&t.cone(e,i),{
cw:o,ch:a}=t;e.lineWidth=1;const l=o>=6&&a>=6,r=new Path2D;for(let h=0;h<s;h++)for(let s=0;s<n;s++){if(!i(h,
s))continue;const n=s*o,c=t.y(h),d=t.grid.flip?h+1:h-1,u=t.grid.flip?h-1:h+1;if(l){const i=t.grid.colour?t.grid.
colour(h,s,t.theme)??t.theme.missing:t.theme.missing;e.fillStyle=m(i)>.45?"rgba(0,0,0,.62)":"rgba(255,255,255,.75)";e.
fillRect(n+o/2-1,c+a/2-1,2,2)}if(!i(d,s)){r.moveTo(n,c+.5);r.lineTo(n+o,c+.5)}if(!i(u,s)){r.moveTo(n,c+a-.5);r.lineTo(
n+o,c+a-.5)}if(!i(h,s-1)){r.moveTo(n+.5,c);r.lineTo(n+.5,c+a)}if(!i(h,s+1)){r.moveTo(n+o-.5,c);r.lineTo(n+o-.5,c+
a)}}e.strokeStyle=t.theme.background;e.lineWidth=3;e.stroke(r);e.strokeStyle=t.theme.text;e.lineWidth=1.25;e.stroke(
r)};const O={minWidth:3,maxWidth:46,minHeight:3,maxHeight:22,label:11};class R{constructor({label:e,testid:s,name:n,
hover:i=()=>{},select:o=()=>{},key:a=()=>false}){Object.assign(this,{name:n,onHover:i,onSelect:o,onKey:a});this.focus=
{row:0,column:0};this.hovered=null;this.selected=null;this.cone=null;this.marks=[];this.grid=null;const l=r("cell");
this.cell=t("div",{role:"gridcell",id:l,"data-testid":`${s}-cell`});this.rowLabels=t("canvas",{class:"mn-rows",
"aria-hidden":"true"});this.base=t("canvas",{"aria-hidden":"true"});this.overlay=t("canvas",{class:"mn-overlay",
"aria-hidden":"true"});this.stack=t("div",{class:"mn-stack"},this.base,this.overlay);this.scroller=t("div",{class:
"mn-scroll"},this.stack);this.tip=t("div",{class:"mn-tip","aria-hidden":"true","data-testid":`${s}-tip`,hidden:true});
this.cellRow=t("div",{class:"mn-hidden",role:"row"},this.cell);this.element=t("div",{class:"mn-map",role:"grid",
tabindex:"0","aria-label":e,"aria-activedescendant":l,"aria-readonly":"true","data-testid":s,onkeydown:t=>this.
keydown(t),onfocus:()=>this.showFocus(),onblur:()=>{this.hideTip();this.drawOverlay()}},this.cellRow,this.rowLabels,
this.scroller,this.tip);this.stack.addEventListener("mousemove",t=>this.mousemove(t));this.stack.addEventListener(
"mouseleave",()=>{this.hovered=null;this.hideTip();this.drawOverlay();this.onHover(null)});this.stack.
addEventListener("click",t=>{const e=this.at(t);if(e){this.focus=e;this.element.focus({preventScroll:true});this.
hideTip();this.choose()}})}update(t,e){const s=this.grid;this.grid=t;this.width=e;if(!s||s.rows!==t.rows||s.columns!==
t.columns){this.focus=t.start??{row:t.flip?t.rows-1:0,column:0};this.hovered=null;this.selected=null;this.cone=
null}this.focus={row:Math.min(this.focus.row,t.rows-1),column:Math.min(this.focus.column,t.columns-1)};this.element.
setAttribute("aria-rowcount",t.rows);this.element.setAttribute("aria-colcount",t.columns);this.draw()}layout(){const{
rows:t,columns:e,rowLabels:s,columnLabels:n}=this.grid,i=this.base.getContext("2d");i.font=`${O.label}px ${this.theme.
mono}`;const o=t=>Math.max(0,...t.slice(0,2e3).map(t=>i.measureText(t).width));this.left=Math.ceil(o(s))+(this.grid.
rowTitle?26:10);const a=Math.max(60,this.width-this.left-4);const l=e*t>2e4;this.cw=this.grid.cellWidth??Math.max(l?1:
O.minWidth,Math.min(O.maxWidth,Math.floor(a/e)));if(!this.grid.cellWidth&&e<=400)this.cw=Math.max(this.cw,Math.min(12,
O.maxWidth));this.cw=Math.max(1,Math.min(this.cw,Math.floor(12e3/e)));const r=this.grid.height??430;this.ch=this.grid.
cellHeight??Math.max(l?1:O.minHeight,Math.min(O.maxHeight,Math.floor(r/t)));this.ch=Math.max(1,Math.min(this.ch,Math.
floor(12e3/t)));const h=n.map(t=>y(t.text,20)),c=o(h);this.turned=c+6>this.cw;this.every=this.turned?Math.max(1,Math.
ceil((O.label+2)/this.cw)):1;this.rowEvery=Math.max(1,Math.ceil((O.label+2)/this.ch));this.plotWidth=this.cw*e;this.
plotHeight=this.ch*t;this.lean=this.turned?Math.ceil(c*.5)+8:0;this.bottom=(this.turned?Math.ceil(c*.87)+14:20)+(this.
grid.columnTitle?16:0);this.turnedTexts=h}size(t,e,s){const n=Math.min(window.devicePixelRatio||1,e*s>4e6?1:3);t.
width=Math.max(1,Math.round(e*n));t.height=Math.max(1,Math.round(s*n));t.style.width=`${e}px`;t.style.height=`${s}px`;
const i=t.getContext("2d");i.setTransform(n,0,0,n,0,0);i.clearRect(0,0,e,s);return i}y(t){return(this.grid.flip?this.
grid.rows-1-t:t)*this.ch}draw(){if(!this.grid||!this.element.isConnected)return;this.theme=w(this.element);this.
layout();const{rows:t,columns:e,columnLabels:s,rowLabels:n}=this.grid,{theme:i}=this;const o=this.size(this.base,this.
plotWidth+this.lean,this.plotHeight+this.bottom);this.size(this.overlay,this.plotWidth,this.plotHeight);if(this.grid.
image){o.imageSmoothingEnabled=false;o.drawImage(this.grid.image(i),0,0,this.plotWidth,this.plotHeight)}else this.
drawCells(o);o.strokeStyle=i.muted;o.globalAlpha=.5;o.lineWidth=1;o.strokeRect(.5,.5,this.plotWidth-1,this.plotHeight-
1);o.globalAlpha=1;o.textBaseline="middle";for(let t=0;t<e;t+=this.every){const{strong:e}=s[t],n=(t+.5)*this.cw;o.
font=`${e?"bold ":""}${O.label}px ${i.mono}`;o.fillStyle=e?i.accent:i.text;o.save();if(this.turned){o.translate(n-2,
this.plotHeight+6);o.rotate(Math.PI/3);o.textAlign="left"}else{o.translate(n,this.plotHeight+10);o.textAlign=
"center"}o.fillText(this.turnedTexts[t],0,0);o.restore()}o.fillStyle=i.muted;o.font=`${O.label}px ${i.font}`;if(this.
grid.columnTitle){o.textAlign="left";o.fillText(this.grid.columnTitle,0,this.plotHeight+this.bottom-8)}const a=this.
size(this.rowLabels,this.left,this.plotHeight+this.bottom);a.textAlign="right";a.textBaseline="middle";a.fillStyle=i.
text;a.font=`${O.label}px ${i.mono}`;for(let e=0;e<t;e+=this.rowEvery)a.fillText(n[e],this.left-5,this.y(e)+this.
ch/2);if(this.grid.rowTitle){a.save();a.translate(8,this.plotHeight/2);a.rotate(-Math.PI/2);a.textAlign="center";a.
fillStyle=i.muted;a.font=`${O.label}px ${i.font}`;a.fillText(this.grid.rowTitle,0,0);a.restore()}this.drawOverlay();
this.announce()}drawCells(e){const{rows:s,columns:n,colour:i}=this.grid,o=t("canvas",{width:n,height:s}),a=o.
getContext("2d");const l=a.createImageData(n,s),r=[];for(let t=0;t<s;t++)for(let e=0;e<n;e++){const o=i(t,e,this.
theme),a=4*((this.grid.flip?s-1-t:t)*n+e),[h,c,d]=o??this.theme.missing;if(!o&&r.length<2e4)r.push([t,e]);l.data[a]=h;
l.data[a+1]=c;l.data[a+2]=d;l.data[a+3]=255}a.putImageData(l,0,0);e.imageSmoothingEnabled=false;e.drawImage(o,0,0,
this.plotWidth,this.plotHeight);if(this.cw<5||this.ch<5)return;e.strokeStyle=this.theme.background;e.globalAlpha=.55;
e.lineWidth=1.5;e.beginPath();for(const[t,s]of r){const n=s*this.cw,i=this.y(t);e.moveTo(n,i+this.ch);e.lineTo(n+this.
cw,i)}e.stroke();e.globalAlpha=1}drawOverlay(){if(!this.grid||!this.cw)return;const t=this.overlay.getContext("2d"),{
cw:e,ch:s,theme:n}=this;t.clearRect(0,0,this.plotWidth,this.plotHeight);if(this.cone)W(this,t);const i=(i,o,a,l=[])=>{
if(!i)return;const r=i.column*e,h=this.y(i.row);t.setLineDash(l);for(const[i,l]of[[n.background,2],[o,0]]){t.
strokeStyle=i;t.lineWidth=a+l;t.strokeRect(r+1,h+1,Math.max(e-2,1),Math.max(s-2,1))}t.setLineDash([])};for(
const i of this.marks){const o=i.column*e+e/2,a=this.y(i.row)+s/2,l=Math.max(2,Math.min(4,e/4,s/4));t.beginPath();t.
arc(o,a,l,0,7);t.fillStyle=n.background;t.fill();t.lineWidth=1.5;t.strokeStyle=n.text;t.stroke()}i(this.hovered,n.
text,1);i(this.linked,n.text,1,[3,2]);if(document.activeElement===this.element)i(this.focus,n.accent,2,[4,2]);i(this.
selected,n.text,2.5)}at(t){if(!this.grid)return null;const e=this.overlay.getBoundingClientRect(),s=Math.floor((t.
clientX-e.left)/this.cw),n=Math.floor((t.clientY-e.top)/this.ch);if(s<0||s>=this.grid.columns||n<0||n>=this.grid.
rows)return null;return{row:this.grid.flip?this.grid.rows-1-n:n,column:s}}mousemove(t){const e=this.at(t);if(e&&this.
hovered&&e.row===this.hovered.row&&e.column===this.hovered.column)return;this.hovered=e;this.drawOverlay();this.
onHover(e);if(e)this.showTip(e);else this.hideTip()}showTip(e){if(!this.grid.tip)return;const s=this.grid.tip(e.row,e.
column);this.tip.replaceChildren(...s.map(([e,s])=>t("div",{},e?t("span",{class:"mn-tip-label",text:`${e} `}):null,t(
"span",{text:s}))));this.tip.hidden=false;const n=this.element.getBoundingClientRect(),i=this.overlay.
getBoundingClientRect();const o=i.left-n.left+(e.column+1)*this.cw+8,a=i.top-n.top+this.y(e.row)+this.ch+6;const l=o+
this.tip.offsetWidth>n.width?o-this.cw-this.tip.offsetWidth-16:o;const r=a+this.tip.offsetHeight>n.height?a-this.ch-
this.tip.offsetHeight-12:a;this.tip.style.left=`${Math.max(0,l)}px`;this.tip.style.top=`${Math.max(0,r)}px`}hideTip(){
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
clientHeight}}const z=(e,{send:s,listen:n})=>{const i=t("select",{"data-testid":"examples","aria-label":
"Example shown",onchange:()=>s("example",{number:Number(i.value)})});const a=t("label",{class:"mn-examples"},t("span",
{class:"mn-note",text:"Example"}),i);const l=()=>{const{names:t=[],own:s=false,chosen:n=null}=e.get("examples");a.
hidden=t.length+s<1||t.length===1&&!s&&n===0;i.replaceChildren(...n===null?[o("","choose one …")]:[],...t.map((t,e)=>
o(String(e),t)),...s?[o("-1","your last input")]:[]);i.value=n===null?"":String(n)};n(["examples"],l);l();return a};
const D=(s,n,{send:i,listen:o},{start:a,label:l,help:r,stop:h,unit:c})=>{const d=t("button",{class:
"mn-button mn-primary",type:"button","data-testid":"run",text:l,title:`${r} (Ctrl+Enter)`,onclick:a});const u=t(
"button",{class:"mn-button",type:"button","data-testid":"stop",text:"Stop",title:h,onclick:()=>i("stop")});const m=t(
"div",{class:"mn-progress-fill"}),f=t("span",{class:"mn-note","data-testid":"progress",role:"status"});const p=t(
"div",{class:"mn-progress",role:"progressbar","aria-label":c,"aria-valuemin":0,"aria-valuemax":100},m);const g=t(
"div",{class:"mn-error",role:"alert","data-testid":"error",hidden:true});const w=()=>{const i=s.get("status"),o=s.get(
"progress"),a=o.total?Math.round(100*o.done/o.total):0,l=s.get("error");u.disabled=i!=="running";n.setAttribute(
"data-status",i);p.hidden=i!=="running"&&i!=="stopping";m.style.width=`${a}%`;p.setAttribute("aria-valuenow",a);e(f,o.
text??"");g.hidden=!l.text;g.replaceChildren(...l.text?[t("strong",{text:l.title}),t("pre",{text:l.text})]:[])};o([
"status","progress","error"],w);w();const v=t("div",{class:"mn-run"},d,u,t("div",{class:"mn-status"},p,f));return{run:
d,row:v,error:g}};const P=(e,{title:n,testid:i,name:o,kind:a,data:l,start:r,label:d="Run",help:u,stop:m,unit:f})=>{
const p=L(e);const g=t("span",{class:"mn-chip","data-testid":"model",text:l??e.get("model_info").text});const b=t(
"div",{class:`mnemoscope ${a}`,"data-testid":i,"data-lm-suppress-shortcuts":"true",role:"region","aria-label":o});
const{run:x,row:y,error:k}=D(e,b,p,{start:r,label:d,help:u,stop:m,unit:f});b.addEventListener("keydown",t=>{if(t.
key!=="Enter"||!(t.ctrlKey||t.metaKey))return;t.preventDefault();t.stopPropagation();x.click()});const M=(i,{parts:o,
drawer:a,box:l,draw:r})=>{const d=t("header",{class:"mn-header"},t("h2",{text:n}),t("div",{class:"mn-about"},z(e,p),
g));b.append(d,...o.filter(t=>t),a.element);h(i,b);const u=()=>{b.setAttribute("data-dark",w(b).dark);r()};p.listen([
"saved","code"],a.draw);p.undo.push(v(u),s(b,l,u),c(e.get("static_key")));a.draw();return()=>{for(const t of p.undo)t(
)}};return{...p,root:b,line:g,run:x,row:y,error:k,open:M}};class F{constructor({label:e,testid:s="strip",choose:n=()=>
{},hover:i=()=>{}}){Object.assign(this,{choose:n,hover:i});this.ids=r("token");this.count=0;this.chosen=0;this.
element=t("div",{class:"mn-strip",role:"listbox","aria-orientation":"horizontal",tabindex:"0","aria-label":e,
"data-testid":s,onkeydown:t=>this.keydown(t)})}update(e,s){this.count=e.length;this.chosen=s;this.element.
replaceChildren(...e.map(({token:e,colour:n,says:i="",strong:o=false},a)=>{const l=x(e);const r=t("span",{class:
`mn-token${a===s?" mn-chosen":""}${o?" mn-strong":""}`,role:"option",id:`${this.ids}-${a}`,"aria-selected":String(a===
s),"data-index":a,text:l,"aria-label":`${a} ${l}${a===s?", chosen":""}${i?`, ${i}`:""}`,onclick:()=>{this.element.
focus({preventScroll:true});this.choose(a)},onmouseenter:()=>this.hover(a),onmouseleave:()=>this.hover(null)});if(n){
r.style.backgroundColor=u(n);r.style.color=f(n)}return r}));if(s>=0)this.element.setAttribute("aria-activedescendant",
`${this.ids}-${s}`);else this.element.removeAttribute("aria-activedescendant")}keydown(t){const e=this.chosen,s={
ArrowLeft:e-1,ArrowRight:e+1,ArrowUp:e-1,ArrowDown:e+1,Home:0,End:this.count-1,PageUp:e-10,PageDown:e+10}[t.key];if(
s===undefined||!this.count||t.ctrlKey||t.metaKey||t.altKey)return;t.preventDefault();t.stopPropagation();this.choose(
Math.max(0,Math.min(this.count-1,s)))}}const I={full:t=>t,root:t=>Math.sign(t)*Math.sqrt(Math.abs(t)),head:(t,e)=>e?
t/e:0};const j=(e,s,n)=>{const i=e.size,o=1,a=i+2*o,l=e.heads.length,r=e.layers.length,h=t("canvas",{width:r*a,height:
l*a});const c=h.getContext("2d"),d=c.createImageData(h.width,h.height),u=I[s],m=e.signed;for(let t=0;t<d.data.length;
t+=4){d.data[t]=n.page[0];d.data[t+1]=n.page[1];d.data[t+2]=n.page[2];d.data[t+3]=255}for(let t=0;t<r;t++)for(let r=0;
r<l;r++){const c=(t*l+r)*i*i;let f=0;const p=t=>m?(e.image[c+t]-128)/127:e.image[c+t]/255;if(s==="head")for(let t=0;t<
i*i;t++)f=Math.max(f,Math.abs(p(t)));for(let e=0;e<i;e++)for(let s=0;s<=e;s++){const l=u(p(e*i+s),f),[c,g,w]=m?n.
diverging(.5+l/2):n.single(l),v=4*((r*a+o+e)*h.width+t*a+o+s);d.data[v]=c;d.data[v+1]=g;d.data[v+2]=w}}c.putImageData(
d,0,0);return h};function N({model:s,el:n}){const i=P(s,{title:"Attention",testid:"attention-view",name:
"Attention view",kind:"mn-attn",label:"Compute",help:"Compute the attention of this text",stop:
"Leave what is under way; what is shown stays",unit:"Texts computed",start:()=>l("run",{fields:{text:g.value}})});
const{send:l,listen:r,set:h,root:c,row:d,error:u}=i,m=t=>s.get(t);let f=null,p=null;const g=t("textarea",{rows:2,
spellcheck:"false","data-testid":"text"});const w=()=>{if(g.value!==m("text"))h({text:g.value,which:"text"})};g.
onchange=w;const v=t("select",{"data-testid":"which",onchange:()=>h({which:v.value})},...m("choices").map(t=>o(t,t)));
const T=t("select",{"data-testid":"layer",onchange:()=>h({layer:Number(T.value)})});const L=t("select",{"data-testid":
"head",onchange:()=>h({head:Number(L.value)})});const S=t("select",{"data-testid":"scale",onchange:()=>h({scale:S.
value})},o("full","0 to 1"),o("root","square root (small weights visible)"),o("head","each head's largest"));const E=
t("input",{type:"checkbox","data-testid":"hide-first",onchange:()=>h({hide_first:E.checked})});const W=t("select",{
"data-testid":"reverse",onchange:()=>h({reverse:W.value==="to"})},o("from","attends to"),o("to","is attended by"));
const O=(t,e)=>p.values[t*p.size+e];const z=(t,e)=>e>t,D=t=>t===0&&m("hide_first");const N=t=>x(p.tokens[t]??"");
const q=new R({label:"All heads. Arrow keys move, Enter chooses a head.",testid:"heads",name:(t,e)=>f?`layer ${f.
layers[e]}, head ${f.heads[t]}`:"",select:t=>h({layer:f.layers[t.column],head:f.heads[t.row]})});const _=new R({label:
"Attention of the chosen head: rows are queries, columns are keys. Arrow keys move, Enter chooses the token.",testid:
"pattern",name:(t,e)=>!p?"":z(t,e)?`query ${t} ${N(t)}, key ${e} ${N(e)}, later token, masked`:`query ${t} ${N(
t)}, key ${e} ${N(e)}, ${k(O(t,e))}`,select:t=>h({token:m("reverse")?t.column:t.row})});const B=new b("colour-bar"),K=
new F({label:"Tokens of the prompt; arrow keys choose one",choose:t=>h({token:t}),hover:t=>tt(t)});const U=t("div",{
class:"mn-readout","data-testid":"readout","aria-live":"polite"}),V=t("ol",{class:"mn-top","data-testid":"top"}),X=t(
"h3",{"data-testid":"head-title"});const Y=()=>{if(!c.isConnected)return;const t=!!(f&&p?.size);ot.hidden=q.element.
hidden=it.hidden=!t;nt.hidden=t||!!m("error").text;ht.element.hidden=!t;if(!t)return;const s=c.clientWidth-30||700,n=
Math.max(10,Math.min(56,Math.floor((s-50)/f.layers.length)));q.update({rows:f.heads.length,columns:f.layers.length,
rowLabels:f.heads.map(String),columnLabels:f.layers.map(t=>({text:String(t)})),rowTitle:"head",columnTitle:"layer",
image:t=>j(f,m("scale"),t),cellWidth:n,cellHeight:n,tip:(t,e)=>[["",`layer ${f.layers[e]}, head ${f.heads[t]}`]]},s);
q.selected={row:f.heads.indexOf(m("head")),column:f.layers.indexOf(m("layer"))};q.focus={...q.selected};q.drawOverlay(
);q.announce();let i=0;for(let t=0;t<p.size;t++)for(let e=0;e<=t;e++)if(!D(e))i=Math.max(i,Math.abs(O(t,e)));const o=
I[m("scale")],a=p.signed,l=p.tokens.map(t=>({text:x(t)}));G=(t,e)=>{const s=o(t,i);return a?e.diverging(.5+s/2):e.
single(s)};const r=Math.max(260,Math.min(s*.55,s-330)),h=Math.floor((r-130)/p.size);_.update({rows:p.size,columns:p.
size,rowLabels:l.map(t=>y(t.text,16)),columnLabels:l,rowTitle:"query",columnTitle:"key",height:460,cellWidth:Math.max(
3,Math.min(26,h)),cellHeight:Math.max(3,Math.min(26,h)),colour:(t,e,s)=>z(t,e)||D(e)?s.page:G(O(t,e),s),tip:(t,e)=>[[
"query",`${t} ${N(t)}`],["key",`${e} ${N(e)}`],z(t,e)?["","later token: masked"]:["attention",k(O(t,e))]]},r);const d=
m("scale")==="head"?i:1;B.update({ramp:a?_.theme.diverging:_.theme.single,low:a?k(-d):"0",middle:a?"0":m("scale")===
"root"?"0.25":"",high:k(d),title:a?"attention, clean minus corrupted":"attention weight"});e(X,`Head ${m(
"layer")}.${m("head")}`);Z()};let G=()=>[0,0,0];const J=()=>{const t=Q(),e=[];for(let s=0;s<p.size;s++){const[n,i]=m(
"reverse")?[s,t]:[t,s];e.push(z(n,i)?null:O(n,i))}return e};const Q=()=>Math.max(0,Math.min(p.size-1,m("token")<0?p.
size+m("token"):m("token")));const Z=()=>{const e=J(),s=_.theme;K.update(p.tokens.map((t,n)=>{const i=e[n]===null||!m(
"reverse")&&D(n);return{token:t,colour:i?s.page:G(e[n],s),says:i?"":k(e[n])}}),Q());const n=e.map((t,e)=>[t,e]).
filter(([t,e])=>t!==null&&(m("reverse")||!D(e))).sort((t,e)=>Math.abs(e[0])-Math.abs(t[0])).slice(0,10);V.
replaceChildren(...n.map(([e,s])=>t("li",{},t("span",{class:"mn-p-bar",style:`width:${Math.min(100,100*Math.abs(e)).
toFixed(1)}%`}),t("code",{text:`${s} ${y(N(s),30)}`}),t("span",{class:"mn-p",text:k(e)}))));tt(null)};const tt=t=>{
const s=Q(),n=m("reverse")?"is attended by":"attends to",i=J();if(t!==null&&t!==undefined){e(U,i[t]===null?`${N(
t)} comes ${m("reverse")?"before":"after"} ${N(s)}: masked`:`${N(s)} ${n} ${N(t)}: ${k(i[t])}`);return}const o=!m(
"reverse")&&m("hide_first")&&!p.signed?` · the hidden first token takes ${k(O(s,0))}`:"";e(U,`Token ${s}, ${N(
s)}, ${n}:${o}`)};const et=(t,e,s)=>{if(t.length!==e.length)t.replaceChildren(...e.map(t=>o(String(t),String(t))));t.
value=String(s)};const st=()=>{const t=m("overview"),e=m("pattern");f=t.image?{...t,image:C(t.image)}:null;p=e.values?
{...e,values:A(e.values)}:null;if(document.activeElement!==g)g.value=m("text");v.value=m("which");S.value=m("scale");
E.checked=m("hide_first");W.value=m("reverse")?"to":"from";if(f){et(T,f.layers,m("layer"));et(L,f.heads,m("head"))}Y(
)};const nt=t("div",{class:"mn-empty","data-testid":"empty"},t("strong",{text:"No text yet"}),t("p",{text:
"Write a text above and press Ctrl+Enter: every head's attention pattern appears here."}));const it=t("div",{class:
"mn-caption",text:"All heads, each a small query × key map. Click one, or use the arrow keys and Enter."});const ot=t(
"div",{class:"mn-attention"},t("section",{"aria-label":"Chosen head"},t("div",{class:"mn-side-head"},X,B.element),_.
element),t("section",{class:"mn-read","aria-label":"Chosen token"},t("div",{class:"mn-read-head"},t("span",{text:
"The chosen token"}),W),K.element,U,V));W.setAttribute("aria-label","Direction of reading");r(["overview","pattern",
"error","layer","head","scale","hide_first","reverse","which","text"],st);r(["token"],()=>{if(p&&c.isConnected)Z()});
const at=()=>`attention_${m("layer")}_${m("head")}`;const lt=()=>{let t=M(["query","query_token","key","key_token",
"attention"]);for(let e=0;e<p.size;e++)for(let s=0;s<=e;s++)t+=M([e,p.tokens[e],s,p.tokens[s],O(e,s)]);return t};
const rt=()=>{const t=_.grid,e=(t,e)=>z(t,e)||D(e);return $({...t,colour:(t,s,n)=>e(t,s)?[255,255,255]:n.diverging(.5+
O(t,s)/2)},{title:`${m("model_info").name}: attention of layer ${m("layer")}, head ${m("head")}`,subtitle:p.signed?
"clean minus corrupted":"rows are queries, columns are keys",bar:"attention",limit:1})};const ht=H(s,l,{stem:at,
figure:rt,table:lt,example:"attention.zarr, attention.nc"});const ct=m("choices").length>1;const dt=i.open(n,{parts:[
ct?null:a("Text",g),t("div",{class:"mn-controls"},ct?a("Prompt",v):null,a("Layer",T),a("Head",L),a("Colour scale",S),
t("label",{class:"mn-check"},E,"hide the first token (attention sink)"),d),u,nt,it,t("div",{class:"mn-heads"},q.
element),ot],drawer:ht,box:c,draw:Y});st();return dt}var q={render:N};export{q as default};
