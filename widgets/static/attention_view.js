// Built by npm run build from 12 files, sha256 09daf7f6c3a880636299f098a29bed8705da482a7478d53c3311f33eb3ec443c
const t=(t,e={},...s)=>{const i=document.createElement(t);for(const[t,s]of Object.entries(e)){if(s===null||s===
undefined||s===false)continue;if(t==="text")i.textContent=s;else if(t.startsWith("on"))i.addEventListener(t.slice(2),
s);else if(t==="value")i.value=s;else i.setAttribute(t,s===true?"":s)}i.append(...s.filter(t=>t!==null&&t!==
undefined));if(i.matches("input, select, textarea, button, summary, [tabindex]"))i.setAttribute(
"data-lm-suppress-shortcuts","true");return i};const e=(t,e)=>{if(t.textContent!==e)t.textContent=e};const s=(t,e,s)=>
{let i=0;const n=new ResizeObserver(()=>{const n=t.isConnected?e.clientWidth:0,o=Math.abs(n-i)>4;i=n;if(!n)return;if(
o)s();t.setAttribute("data-ready","true")});n.observe(e);return()=>n.disconnect()};const i=(e,s,i)=>{const n=URL.
createObjectURL(i instanceof Blob?i:new Blob([i],{type:s}));const o=t("a",{href:n,download:e});document.body.append(
o);o.click();o.remove();setTimeout(()=>URL.revokeObjectURL(n),1e4)};const n=async(t,e)=>{try{await navigator.
clipboard.writeText(t)}catch{e.focus();e.select();document.execCommand("copy")}};const o=(e,s)=>t("option",{value:e,
text:s});const a=(e,s,i)=>t("label",{class:"mn-field"},t("span",{class:"mn-label",text:e}),s,null);let l=0;const r=t=>
`mn-${t}-${++l}-${Math.random().toString(36).slice(2,7)}`;const c=(t,e)=>{t.append(e);e.addEventListener(
"pointerdown",t=>{const e=t.button===0&&t.target.closest("button");if(!e||e.disabled)return;const s=i=>{if(i.
pointerId!==t.pointerId)return;document.removeEventListener("pointerup",s,true);document.removeEventListener(
"pointercancel",s,true);const n=Math.hypot(i.clientX-t.clientX,i.clientY-t.clientY)<6;if(i.type==="pointerup"&&n&&!e.
contains(i.target)&&e.isConnected)e.click()};document.addEventListener("pointerup",s,true);document.addEventListener(
"pointercancel",s,true)})};const h=e=>{if(!e||!/^[\w-]+$/.test(e))return()=>{};const s=t("style",{text:
`.jp-OutputArea-child:has(.mnemoscope-static-${e}), .mnemoscope-static-${e} { display: none `+`!important; }`});
document.head.append(s);return()=>s.remove()};const d=t=>[1,3,5].map(e=>parseInt(t.slice(e,e+2),16));const u=([t,e,
s])=>`rgb(${Math.round(t)},${Math.round(e)},${Math.round(s)})`;const m=([t,e,s])=>(.2126*t+.7152*e+.0722*s)/255;
const f=t=>{const[e,s,i]=t.map(t=>t<=10.3?t/3294.6:((t/255+.055)/1.055)**2.4);const n=.2126*e+.7152*s+.0722*i;
return 1.05/(n+.05)>(n+.05)/.05?"#ffffff":"#000000"};const p=t=>{const e=t.map(d),s=e.length-1;return t=>{const i=
Math.min(1,Math.max(0,t))*s,n=Math.min(s-1,Math.floor(i)),o=i-n;return e[n].map((t,s)=>t+o*(e[n+1][s]-t))}};const g={
light:{diverging:p(["#0a3a75","#2f7fc1","#a6cdec","#f9f9f7","#fbc98f","#dd7f1d","#853703"]),single:p(["#f9f9f7",
"#b9d8ee","#5a9fd4","#1f62a6","#08264f"]),missing:[214,214,214],ink:"#1c1c1c"},dark:{diverging:p(["#a9d6ff","#4a9be0",
"#22507d","#202328","#7a4515","#dd8430","#ffd0a0"]),single:p(["#202328","#1d4a73","#2f7fc1","#7cbcf0","#e6f4ff"]),
missing:[78,82,88],ink:"#f2f2f2"}};const w=e=>{const s=getComputedStyle(e.closest(".mnemoscope")??e);const i=(t,e)=>s.
getPropertyValue(t).trim()||e;const n=t("canvas",{width:1,height:1}).getContext("2d",{willReadFrequently:true});n.
fillStyle="#ffffff";n.fillStyle=s.backgroundColor;n.fillRect(0,0,1,1);const o=[...n.getImageData(0,0,1,1).data].slice(
0,3),a=m(o)<.4;const l=a?g.dark:g.light;return{dark:a,...l,page:o,text:s.color,muted:i("--mn-muted","#666"),accent:i(
"--mn-accent","#0b6bcb"),background:s.backgroundColor,font:i("--mn-font","system-ui, sans-serif"),mono:i("--mn-mono",
"monospace")}};const v=t=>{const e=new MutationObserver(()=>requestAnimationFrame(t));for(const t of[document.
documentElement,document.body])e.observe(t,{attributes:true,attributeFilter:["class","style","data-jp-theme-name",
"data-jp-theme-light","data-vscode-theme-kind"]});const s=matchMedia("(prefers-color-scheme: dark)");s.
addEventListener("change",t);return()=>{e.disconnect();s.removeEventListener("change",t)}};class x{constructor(e){
this.canvas=t("canvas",{width:128,height:8,"aria-hidden":"true"});this.low=t("span");this.middle=t("span");this.high=
t("span");this.title=t("div",{class:"mn-bar-title"});this.element=t("div",{class:"mn-bar",role:"img","data-testid":e},
this.title,this.canvas,t("div",{class:"mn-bar-ends"},this.low,this.middle,this.high))}update({ramp:t,low:s,middle:i=
"",high:n,title:o}){const a=this.canvas.getContext("2d");for(let e=0;e<128;e++){a.fillStyle=u(t(e/127));a.fillRect(e,
0,1,8)}e(this.low,s);e(this.middle,i);e(this.high,n);e(this.title,o);this.element.setAttribute("aria-label",
`Colour scale: ${o}, from ${s} to ${n}`)}}const b=t=>{if(t==="")return"∅";return t.replace(/ /g,"·").replace(/\r?\n/g,
"⏎").replace(/\t/g,"⇥").replace(/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,t=>`‹${t.
codePointAt(0).toString(16).padStart(4,"0")}›`)};const y=(t,e)=>[...t].length>e?[...t].slice(0,e-1).join("")+"…":t;
const k=t=>{if(t===null||t===undefined||Number.isNaN(t))return"no value";if(!Number.isFinite(t))return t>0?"∞":"−∞";
const e=Math.abs(t);const s=e===0?"0":e>=1e5||e<1e-4?e.toExponential(2):e>=100?e.toFixed(1):e>=1?e.toFixed(2):e.
toFixed(3);return(t<0&&Number(s)!==0?"−":"")+s};const M=t=>t.map(t=>typeof t==="string"?`"${t.replace(/"/g,'""')}"`:
Number.isNaN(t)?"":String(t)).join(",")+"\r\n";const $=(t,{title:e,subtitle:s,bar:i,limit:n,low:o=k(-n)})=>{const a=
"http://www.w3.org/2000/svg",l=g.light;const r=(t,e,s)=>{const i=document.createElementNS(a,t);for(const[t,
s]of Object.entries(e))i.setAttribute(t,s);if(s!==undefined)i.textContent=s;return i};const c=t.columnLabels.map(t=>y(
t.text,24)),h=Math.max(4,Math.min(26,900/t.columns)),d=Math.max(4,Math.min(14,600/t.rows));const m=Math.max(1,Math.
ceil(11/h)),f=Math.max(1,Math.ceil(11/d)),p=Math.max(1,...c.map(t=>[...t].length))*6.1,w=p+4>h;const v=46,x=48,b=v+
h*t.columns+Math.max(20,p*.55)+70,M=x+d*t.rows+p*.87+36;const $=r("svg",{xmlns:a,width:Math.ceil(b),height:Math.ceil(
M),viewBox:`0 0 ${Math.ceil(b)} ${Math.ceil(M)}`,"font-family":"DejaVu Sans, Arial, sans-serif","font-size":10});$.
append(r("rect",{width:"100%",height:"100%",fill:"#ffffff"}),r("text",{x:v,y:18,"font-size":12,"font-weight":"bold"},
e),r("text",{x:v,y:34,fill:"#555555"},s));const T=e=>x+(t.flip?t.rows-1-e:e)*d;for(let e=0;e<t.rows;e++)for(let s=0;s<
t.columns;s++)$.append(r("rect",{x:(v+s*h).toFixed(2),y:T(e).toFixed(2),width:(h+.2).toFixed(2),height:(d+.2).toFixed(
2),fill:u(t.colour(e,s,l)??l.missing)}));$.append(r("rect",{x:v,y:x,width:h*t.columns,height:d*t.rows,fill:"none",
stroke:"#888888","stroke-width":.75}));for(let e=0;e<t.rows;e+=f)$.append(r("text",{x:v-4,y:T(e)+d/2+3.5,
"text-anchor":"end"},t.rowLabels[e]));const A=x+d*t.rows;for(let e=0;e<t.columns;e+=m){const s=v+(e+.5)*h-(w?2:0);$.
append(r("text",{transform:`translate(${s.toFixed(1)} ${A+(w?9:13)})${w?" rotate(60)":""}`,"text-anchor":w?"start":
"middle","font-family":"DejaVu Sans Mono, monospace","font-weight":t.columnLabels[e].strong?"bold":"normal"},c[e]))}$.
append(r("text",{transform:`translate(12 ${x+d*t.rows/2}) rotate(-90)`,"text-anchor":"middle",fill:"#555555"},t.
rowTitle),r("text",{x:v,y:M-8,fill:"#555555"},t.columnTitle));const C=v+h*t.columns+14,L=60,S=Math.min(160,d*t.rows);
for(let t=0;t<L;t++)$.append(r("rect",{x:C,y:x+S*t/L,width:9,height:S/L+.3,fill:u(l.diverging(1-t/(L-1)))}));for(
const[t,e]of[[k(n),0],["0",.5],[o,1]])$.append(r("text",{x:C+13,y:x+S*e+4},t));$.append(r("text",{transform:
`translate(${C+50} ${x+S/2}) rotate(90)`,"text-anchor":"middle",fill:"#555555"},i));return{text:(new XMLSerializer).
serializeToString($),width:Math.ceil(b),height:Math.ceil(M)}};const T=(e,s=3)=>new Promise((i,n)=>{const o=new Image;
o.onload=()=>{const n=t("canvas",{width:e.width*s,height:e.height*s});const a=n.getContext("2d");a.scale(s,s);a.
drawImage(o,0,0);n.toBlob(i,"image/png")};o.onerror=()=>n(new Error("the browser could not draw the figure"));o.src=
"data:image/svg+xml;charset=utf-8,"+encodeURIComponent(e.text)});const A=(s,o,{stem:l,figure:r,table:c,example:h})=>{
const d=t("textarea",{class:"mn-code",readonly:true,rows:12,spellcheck:"false","aria-label":
"Python that reproduces this view","data-testid":"code"});const u=t("input",{type:"text","data-testid":"path",
placeholder:h,spellcheck:"false"});const m=t("div",{class:"mn-note","data-testid":"saved",role:"status"}),f=t("input",
{type:"checkbox","data-testid":"overwrite"});const p=()=>o("save",{path:u.value,overwrite:f.checked});u.onkeydown=t=>{
if(t.key==="Enter")p()};const g=(e,s,i,n="")=>t("button",{type:"button",class:`mn-button ${n}`,"data-testid":e,text:s,
onclick:i});const w=async t=>{const s=t.currentTarget;await n(d.value,d);e(s,"Copied");setTimeout(()=>e(s,"Copy"),
1500)};const v=t("div",{},t("div",{class:"mn-buttons"},g("svg","Figure (SVG)",()=>i(`${l()}.svg`,"image/svg+xml",r().
text)),g("png","Figure (PNG)",async()=>i(`${l()}.png`,"image/png",await T(r()))),g("csv","Data (CSV)",()=>i(`${l(
)}.csv`,"text/csv",c()))),t("div",{class:"mn-saverow"},a("Save the labelled data on the kernel’s machine as",u),g(
"save","Save",p),t("label",{class:"mn-check"},f,"replace what is there")),m);const x=t("details",{class:"mn-more",
"data-testid":"export"},t("summary",{text:"Export and code"}),v,t("div",{class:"mn-side-head"},t("span",{class:
"mn-label",text:"Python that reproduces this view"}),g("copy","Copy",w,"mn-small")),d);const b=()=>{const t=s.get(
"saved");e(m,t.text??"");m.classList.toggle("mn-bad",t.ok===false);d.value=s.get("code");d.rows=d.value.split("\n").
length+1};return{element:x,files:v,draw:b}};const C=(t,e)=>{const{rows:s,columns:i}=t.grid,n=(e,n)=>e>=0&&e<s&&n>=0&&
n<i&&t.cone(e,n),{cw:o,ch:a}=t;e.lineWidth=1;const l=o>=6&&a>=6,r=new Path2D;for(let c=0;c<s;c++)for(let s=0;s<i;s++){
if(!n(c,s))continue;const i=s*o,h=t.y(c),d=t.grid.flip?c+1:c-1,u=t.grid.flip?c-1:c+1;if(l){const n=t.grid.colour?t.
grid.colour(c,s,t.theme)??t.theme.missing:t.theme.missing;e.fillStyle=m(n)>.45?"rgba(0,0,0,.62)":
"rgba(255,255,255,.75)";e.fillRect(i+o/2-1,h+a/2-1,2,2)}if(!n(d,s)){r.moveTo(i,h+.5);r.lineTo(i+o,h+.5)}if(!n(u,s)){r.
moveTo(i,h+a-.5);r.lineTo(i+o,h+a-.5)}if(!n(c,s-1)){r.moveTo(i+.5,h);r.lineTo(i+.5,h+a)}if(!n(c,s+1)){r.moveTo(i+o-.5,
h);r.lineTo(i+o-.5,h+a)}}e.strokeStyle=t.theme.background;e.lineWidth=3;e.stroke(r);e.strokeStyle=t.theme.text;e.
lineWidth=1.25;e.stroke(r)};const L={minWidth:3,maxWidth:46,minHeight:3,maxHeight:22,label:11};class S{constructor({
label:e,testid:s,name:i,hover:n=()=>{},select:o=()=>{},key:a=()=>false}){Object.assign(this,{name:i,onHover:n,
onSelect:o,onKey:a});this.focus={row:0,column:0};this.hovered=null;this.selected=null;this.cone=null;this.marks=[];
this.grid=null;const l=r("cell");this.cell=t("div",{role:"gridcell",id:l,"data-testid":`${s}-cell`});this.rowLabels=t(
"canvas",{class:"mn-rows","aria-hidden":"true"});this.base=t("canvas",{"aria-hidden":"true"});this.overlay=t("canvas",
{class:"mn-overlay","aria-hidden":"true"});this.stack=t("div",{class:"mn-stack"},this.base,this.overlay);this.
scroller=t("div",{class:"mn-scroll"},this.stack);this.tip=t("div",{class:"mn-tip","aria-hidden":"true","data-testid":
`${s}-tip`,hidden:true});this.cellRow=t("div",{class:"mn-hidden",role:"row"},this.cell);this.element=t("div",{class:
"mn-map",role:"grid",tabindex:"0","aria-label":e,"aria-activedescendant":l,"aria-readonly":"true","data-testid":s,
onkeydown:t=>this.keydown(t),onfocus:()=>this.showFocus(),onblur:()=>{this.hideTip();this.drawOverlay()}},this.
cellRow,this.rowLabels,this.scroller,this.tip);this.stack.addEventListener("mousemove",t=>this.mousemove(t));this.
stack.addEventListener("mouseleave",()=>{this.hovered=null;this.hideTip();this.drawOverlay();this.onHover(null)});
this.stack.addEventListener("click",t=>{const e=this.at(t);if(e){this.focus=e;this.element.focus({preventScroll:
true});this.hideTip();this.choose()}})}update(t,e){const s=this.grid;this.grid=t;this.width=e;if(!s||s.rows!==t.rows||
s.columns!==t.columns){this.focus=t.start??{row:t.flip?t.rows-1:0,column:0};this.hovered=null;this.selected=null;this.
cone=null}this.focus={row:Math.min(this.focus.row,t.rows-1),column:Math.min(this.focus.column,t.columns-1)};this.
element.setAttribute("aria-rowcount",t.rows);this.element.setAttribute("aria-colcount",t.columns);this.draw()}layout(
){const{rows:t,columns:e,rowLabels:s,columnLabels:i}=this.grid,n=this.base.getContext("2d");n.font=`${L.
label}px ${this.theme.mono}`;const o=t=>Math.max(0,...t.slice(0,2e3).map(t=>n.measureText(t).width));this.left=Math.
ceil(o(s))+(this.grid.rowTitle?26:10);const a=Math.max(60,this.width-this.left-4);const l=e*t>2e4;this.cw=this.grid.
cellWidth??Math.max(l?1:L.minWidth,Math.min(L.maxWidth,Math.floor(a/e)));if(!this.grid.cellWidth&&e<=400)this.cw=Math.
max(this.cw,Math.min(12,L.maxWidth));this.cw=Math.max(1,Math.min(this.cw,Math.floor(12e3/e)));const r=this.grid.
height??430;this.ch=this.grid.cellHeight??Math.max(l?1:L.minHeight,Math.min(L.maxHeight,Math.floor(r/t)));this.ch=
Math.max(1,Math.min(this.ch,Math.floor(12e3/t)));const c=i.map(t=>y(t.text,20)),h=o(c);this.turned=h+6>this.cw;this.
every=this.turned?Math.max(1,Math.ceil((L.label+2)/this.cw)):1;this.rowEvery=Math.max(1,Math.ceil((L.label+2)/this.
ch));this.plotWidth=this.cw*e;this.plotHeight=this.ch*t;this.lean=this.turned?Math.ceil(h*.5)+8:0;this.bottom=(this.
turned?Math.ceil(h*.87)+14:20)+(this.grid.columnTitle?16:0);this.turnedTexts=c}size(t,e,s){const i=Math.min(window.
devicePixelRatio||1,e*s>4e6?1:3);t.width=Math.max(1,Math.round(e*i));t.height=Math.max(1,Math.round(s*i));t.style.
width=`${e}px`;t.style.height=`${s}px`;const n=t.getContext("2d");n.setTransform(i,0,0,i,0,0);n.clearRect(0,0,e,s);
return n}y(t){return(this.grid.flip?this.grid.rows-1-t:t)*this.ch}draw(){if(!this.grid||!this.element.
isConnected)return;this.theme=w(this.element);this.layout();const{rows:t,columns:e,columnLabels:s,rowLabels:i}=this.
grid,{theme:n}=this;const o=this.size(this.base,this.plotWidth+this.lean,this.plotHeight+this.bottom);this.size(this.
overlay,this.plotWidth,this.plotHeight);if(this.grid.image){o.imageSmoothingEnabled=false;o.drawImage(this.grid.image(
n),0,0,this.plotWidth,this.plotHeight)}else this.drawCells(o);o.strokeStyle=n.muted;o.globalAlpha=.5;o.lineWidth=1;o.
strokeRect(.5,.5,this.plotWidth-1,this.plotHeight-1);o.globalAlpha=1;o.textBaseline="middle";for(let t=0;t<e;t+=this.
every){const{strong:e}=s[t],i=(t+.5)*this.cw;o.font=`${e?"bold ":""}${L.label}px ${n.mono}`;o.fillStyle=e?n.accent:n.
text;o.save();if(this.turned){o.translate(i-2,this.plotHeight+6);o.rotate(Math.PI/3);o.textAlign="left"}else{o.
translate(i,this.plotHeight+10);o.textAlign="center"}o.fillText(this.turnedTexts[t],0,0);o.restore()}o.fillStyle=n.
muted;o.font=`${L.label}px ${n.font}`;if(this.grid.columnTitle){o.textAlign="left";o.fillText(this.grid.columnTitle,0,
this.plotHeight+this.bottom-8)}const a=this.size(this.rowLabels,this.left,this.plotHeight+this.bottom);a.textAlign=
"right";a.textBaseline="middle";a.fillStyle=n.text;a.font=`${L.label}px ${n.mono}`;for(let e=0;e<t;e+=this.rowEvery)a.
fillText(i[e],this.left-5,this.y(e)+this.ch/2);if(this.grid.rowTitle){a.save();a.translate(8,this.plotHeight/2);a.
rotate(-Math.PI/2);a.textAlign="center";a.fillStyle=n.muted;a.font=`${L.label}px ${n.font}`;a.fillText(this.grid.
rowTitle,0,0);a.restore()}this.drawOverlay();this.announce()}drawCells(e){const{rows:s,columns:i,colour:n}=this.grid,
o=t("canvas",{width:i,height:s}),a=o.getContext("2d");const l=a.createImageData(i,s),r=[];for(let t=0;t<s;t++)for(
let e=0;e<i;e++){const o=n(t,e,this.theme),a=4*((this.grid.flip?s-1-t:t)*i+e),[c,h,d]=o??this.theme.missing;if(!o&&r.
length<2e4)r.push([t,e]);l.data[a]=c;l.data[a+1]=h;l.data[a+2]=d;l.data[a+3]=255}a.putImageData(l,0,0);e.
imageSmoothingEnabled=false;e.drawImage(o,0,0,this.plotWidth,this.plotHeight);if(this.cw<5||this.ch<5)return;e.
strokeStyle=this.theme.background;e.globalAlpha=.55;e.lineWidth=1.5;e.beginPath();for(const[t,s]of r){const i=s*this.
cw,n=this.y(t);e.moveTo(i,n+this.ch);e.lineTo(i+this.cw,n)}e.stroke();e.globalAlpha=1}drawOverlay(){if(!this.grid||
!this.cw)return;const t=this.overlay.getContext("2d"),{cw:e,ch:s,theme:i}=this;t.clearRect(0,0,this.plotWidth,this.
plotHeight);if(this.cone)C(this,t);const n=(n,o,a,l=[])=>{if(!n)return;const r=n.column*e,c=this.y(n.row);t.
setLineDash(l);for(const[n,l]of[[i.background,2],[o,0]]){t.strokeStyle=n;t.lineWidth=a+l;t.strokeRect(r+1,c+1,Math.
max(e-2,1),Math.max(s-2,1))}t.setLineDash([])};for(const n of this.marks){const o=n.column*e+e/2,a=this.y(n.row)+s/2,
l=Math.max(2,Math.min(4,e/4,s/4));t.beginPath();t.arc(o,a,l,0,7);t.fillStyle=i.background;t.fill();t.lineWidth=1.5;t.
strokeStyle=i.text;t.stroke()}n(this.hovered,i.text,1);n(this.linked,i.text,1,[3,2]);if(document.activeElement===this.
element)n(this.focus,i.accent,2,[4,2]);n(this.selected,i.text,2.5)}at(t){if(!this.grid)return null;const e=this.
overlay.getBoundingClientRect(),s=Math.floor((t.clientX-e.left)/this.cw),i=Math.floor((t.clientY-e.top)/this.ch);if(s<
0||s>=this.grid.columns||i<0||i>=this.grid.rows)return null;return{row:this.grid.flip?this.grid.rows-1-i:i,column:
s}}mousemove(t){const e=this.at(t);if(e&&this.hovered&&e.row===this.hovered.row&&e.column===this.hovered.
column)return;this.hovered=e;this.drawOverlay();this.onHover(e);if(e)this.showTip(e);else this.hideTip()}showTip(e){
if(!this.grid.tip)return;const s=this.grid.tip(e.row,e.column);this.tip.replaceChildren(...s.map(([e,s])=>t("div",{},
e?t("span",{class:"mn-tip-label",text:`${e} `}):null,t("span",{text:s}))));this.tip.hidden=false;const i=this.element.
getBoundingClientRect(),n=this.overlay.getBoundingClientRect();const o=n.left-i.left+(e.column+1)*this.cw+8,a=n.top-i.
top+this.y(e.row)+this.ch+6;const l=o+this.tip.offsetWidth>i.width?o-this.cw-this.tip.offsetWidth-16:o;const r=a+this.
tip.offsetHeight>i.height?a-this.ch-this.tip.offsetHeight-12:a;this.tip.style.left=`${Math.max(0,l)}px`;this.tip.
style.top=`${Math.max(0,r)}px`}hideTip(){this.tip.hidden=true}showFocus(){this.drawOverlay();this.announce()}announce(
){const{row:t,column:e}=this.focus;this.cellRow.setAttribute("aria-rowindex",(this.grid.flip?this.grid.rows-1-t:t)+1);
this.cell.setAttribute("aria-colindex",e+1);this.cell.setAttribute("aria-selected",String(!!this.selected&&this.
selected.row===t&&this.selected.column===e));const s=this.name(t,e);this.cell.setAttribute("aria-label",s)}choose(){
this.selected={...this.focus};this.onSelect(this.selected);this.drawOverlay();this.announce()}keydown(t){if(!this.
grid||t.ctrlKey||t.altKey||t.metaKey)return;const e=this.grid.flip?1:-1,{rows:s,columns:i}=this.grid,n={...this.
focus};const o={ArrowUp:[e,0],ArrowDown:[-e,0],ArrowLeft:[0,-1],ArrowRight:[0,1],PageUp:[5*e,0],PageDown:[-5*e,0],
Home:[0,-i],End:[0,i]};if(t.key in o){n.row+=o[t.key][0];n.column+=o[t.key][1]}else if(t.key==="Enter"||t.key===" "){
this.choose()}else if(t.key==="Escape"){this.hideTip();return}else{if(this.onKey(t.key,this.focus)){t.preventDefault(
);t.stopPropagation()}return}t.preventDefault();t.stopPropagation();this.focus={row:Math.min(s-1,Math.max(0,n.row)),
column:Math.min(i-1,Math.max(0,n.column))};this.reveal();this.drawOverlay();this.announce();this.onHover(this.focus);
this.showTip(this.focus)}reveal(){const t=this.focus.column*this.cw,e=this.scroller;if(t<e.scrollLeft)e.scrollLeft=t-
20;else if(t+this.cw>e.scrollLeft+e.clientWidth)e.scrollLeft=t+this.cw-e.clientWidth+20;const s=this.y(this.focus.
row);if(s<e.scrollTop)e.scrollTop=s;else if(s+this.ch>e.scrollTop+e.clientHeight&&e.scrollHeight>e.clientHeight)e.
scrollTop=s+this.ch-e.clientHeight}}const E=t=>{if(!t)return new Float32Array(0);const e=t instanceof ArrayBuffer?
new DataView(t):t;const s=e.byteOffset%4?e.buffer.slice(e.byteOffset,e.byteOffset+e.byteLength):e.buffer;
return new Float32Array(s,e.byteOffset%4?0:e.byteOffset,Math.floor(e.byteLength/4))};const H=t=>new Uint8Array(t.
buffer??t,t.byteOffset??0,t.byteLength);const W=t=>{const e=[];return{undo:e,send:(e,s={})=>t.send({type:e,...s}),
listen:(s,i)=>{for(const n of s){t.on(`change:${n}`,i);e.push(()=>t.off(`change:${n}`,i))}},set:e=>{for(const[s,
i]of Object.entries(e))t.set(s,i);t.save_changes()}}};const O=(e,{send:s,listen:i})=>{const n=t("select",{
"data-testid":"examples","aria-label":"Example shown",onchange:()=>s("example",{number:Number(n.value)})});const a=t(
"label",{class:"mn-examples"},t("span",{class:"mn-note",text:"Example"}),n);const l=()=>{const{names:t=[],own:s=false,
chosen:i=null}=e.get("examples");a.hidden=t.length+s<1||t.length===1&&!s&&i===0;n.replaceChildren(...i===null?[o("",
"choose one …")]:[],...t.map((t,e)=>o(String(e),t)),...s?[o("-1","your last input")]:[]);n.value=i===null?"":String(
i)};i(["examples"],l);l();return a};const z=(s,i,{send:n,listen:o},{start:a,label:l,help:r,stop:c,unit:h})=>{const d=
t("button",{class:"mn-button mn-primary",type:"button","data-testid":"run",text:l,title:`${r} (Ctrl+Enter)`,onclick:
a});const u=t("button",{class:"mn-button",type:"button","data-testid":"stop",text:"Stop",title:c,onclick:()=>n(
"stop")});const m=t("div",{class:"mn-progress-fill"}),f=t("span",{class:"mn-note","data-testid":"progress",role:
"status"});const p=t("div",{class:"mn-progress",role:"progressbar","aria-label":h,"aria-valuemin":0,"aria-valuemax":
100},m);const g=t("div",{class:"mn-error",role:"alert","data-testid":"error",hidden:true});const w=()=>{const n=s.get(
"status"),o=s.get("progress"),a=o.total?Math.round(100*o.done/o.total):0,l=s.get("error");u.disabled=n!=="running";i.
setAttribute("data-status",n);p.hidden=n!=="running"&&n!=="stopping";m.style.width=`${a}%`;p.setAttribute(
"aria-valuenow",a);e(f,o.text??"");g.hidden=!l.text;g.replaceChildren(...l.text?[t("strong",{text:l.title}),t("pre",{
text:l.text})]:[])};o(["status","progress","error"],w);w();const v=t("div",{class:"mn-run"},d,u,t("div",{class:
"mn-status"},p,f));return{run:d,row:v,error:g}};const R=(e,{title:i,testid:n,name:o,kind:a,data:l,start:r,label:d=
"Run",help:u,stop:m,unit:f})=>{const p=W(e);const g=t("span",{class:"mn-chip","data-testid":"model",text:l??e.get(
"model_info").text});const x=t("div",{class:`mnemoscope ${a}`,"data-testid":n,"data-lm-suppress-shortcuts":"true",
role:"region","aria-label":o});const{run:b,row:y,error:k}=z(e,x,p,{start:r,label:d,help:u,stop:m,unit:f});x.
addEventListener("keydown",t=>{if(t.key!=="Enter"||!(t.ctrlKey||t.metaKey))return;t.preventDefault();t.
stopPropagation();b.click()});const M=(n,{parts:o,drawer:a,box:l,draw:r})=>{const d=t("header",{class:"mn-header"},t(
"h2",{text:i}),t("div",{class:"mn-about"},O(e,p),g));x.append(d,...o.filter(t=>t),a.element);c(n,x);const u=()=>{x.
setAttribute("data-dark",w(x).dark);r()};p.listen(["saved","code"],a.draw);p.undo.push(v(u),s(x,l,u),h(e.get(
"static_key")));a.draw();return()=>{for(const t of p.undo)t()}};return{...p,root:x,line:g,run:b,row:y,error:k,open:
M}};const D={full:t=>t,root:t=>Math.sign(t)*Math.sqrt(Math.abs(t)),head:(t,e)=>e?t/e:0};const P=(e,s,i)=>{const n=e.
size,o=1,a=n+2*o,l=e.heads.length,r=e.layers.length,c=t("canvas",{width:r*a,height:l*a});const h=c.getContext("2d"),d=
h.createImageData(c.width,c.height),u=D[s],m=e.signed;for(let t=0;t<d.data.length;t+=4){d.data[t]=i.page[0];d.data[t+
1]=i.page[1];d.data[t+2]=i.page[2];d.data[t+3]=255}for(let t=0;t<r;t++)for(let r=0;r<l;r++){const h=(t*l+r)*n*n;let f=
0;const p=t=>m?(e.image[h+t]-128)/127:e.image[h+t]/255;if(s==="head")for(let t=0;t<n*n;t++)f=Math.max(f,Math.abs(p(
t)));for(let e=0;e<n;e++)for(let s=0;s<=e;s++){const l=u(p(e*n+s),f),[h,g,w]=m?i.diverging(.5+l/2):i.single(l),v=4*((
r*a+o+e)*c.width+t*a+o+s);d.data[v]=h;d.data[v+1]=g;d.data[v+2]=w}}h.putImageData(d,0,0);return c};function F({model:
s,el:i}){const n=R(s,{title:"Attention",testid:"attention-view",name:"Attention view",kind:"mn-attn",label:"Compute",
help:"Compute the attention of this text",stop:"Leave what is under way; what is shown stays",unit:"Texts computed",
start:()=>l("run",{fields:{text:T.value}})});const{send:l,listen:c,set:h,root:d,row:m,error:p}=n,g=t=>s.get(t);let w=
null,v=null;const T=t("textarea",{rows:2,spellcheck:"false","data-testid":"text"});const C=()=>{if(T.value!==g(
"text"))h({text:T.value,which:"text"})};T.onchange=C;const L=t("select",{"data-testid":"which",onchange:()=>h({which:
L.value})},...g("choices").map(t=>o(t,t)));const W=t("select",{"data-testid":"layer",onchange:()=>h({layer:Number(W.
value)})});const O=t("select",{"data-testid":"head",onchange:()=>h({head:Number(O.value)})});const z=t("select",{
"data-testid":"scale",onchange:()=>h({scale:z.value})},o("full","0 to 1"),o("root",
"square root (small weights visible)"),o("head","each head's largest"));const F=t("input",{type:"checkbox",
"data-testid":"hide-first",onchange:()=>h({hide_first:F.checked})});const I=t("select",{"data-testid":"reverse",
onchange:()=>h({reverse:I.value==="to"})},o("from","attends to"),o("to","is attended by"));const N=(t,e)=>v.values[
t*v.size+e];const j=(t,e)=>e>t,q=t=>t===0&&g("hide_first");const _=t=>b(v.tokens[t]??"");const B=new S({label:
"All heads. Arrow keys move, Enter chooses a head.",testid:"heads",name:(t,e)=>w?`layer ${w.layers[e]}, head ${w.
heads[t]}`:"",select:t=>h({layer:w.layers[t.column],head:w.heads[t.row]})});const K=new S({label:
"Attention of the chosen head: rows are queries, columns are keys. Arrow keys move, Enter chooses the token.",testid:
"pattern",name:(t,e)=>!v?"":j(t,e)?`query ${t} ${_(t)}, key ${e} ${_(e)}, later token, masked`:`query ${t} ${_(
t)}, key ${e} ${_(e)}, ${k(N(t,e))}`,select:t=>h({token:g("reverse")?t.column:t.row})});const U=new x("colour-bar"),V=
t("div",{class:"mn-strip",role:"listbox","aria-orientation":"horizontal",tabindex:"0","aria-label":
"Tokens of the prompt; arrow keys choose one","data-testid":"strip","data-id":r("token")});const X=t("div",{class:
"mn-readout","data-testid":"readout","aria-live":"polite"}),Y=t("ol",{class:"mn-top","data-testid":"top"}),G=t("h3",{
"data-testid":"head-title"});const J=()=>{if(!d.isConnected)return;const t=!!(w&&v?.size);lt.hidden=B.element.hidden=
at.hidden=!t;ot.hidden=t||!!g("error").text;dt.element.hidden=!t;if(!t)return;const s=d.clientWidth-30||700,i=Math.
max(10,Math.min(56,Math.floor((s-50)/w.layers.length)));B.update({rows:w.heads.length,columns:w.layers.length,
rowLabels:w.heads.map(String),columnLabels:w.layers.map(t=>({text:String(t)})),rowTitle:"head",columnTitle:"layer",
image:t=>P(w,g("scale"),t),cellWidth:i,cellHeight:i,tip:(t,e)=>[["",`layer ${w.layers[e]}, head ${w.heads[t]}`]]},s);
B.selected={row:w.heads.indexOf(g("head")),column:w.layers.indexOf(g("layer"))};B.focus={...B.selected};B.drawOverlay(
);B.announce();let n=0;for(let t=0;t<v.size;t++)for(let e=0;e<=t;e++)if(!q(e))n=Math.max(n,Math.abs(N(t,e)));const o=
D[g("scale")],a=v.signed,l=v.tokens.map(t=>({text:b(t)}));Q=(t,e)=>{const s=o(t,n);return a?e.diverging(.5+s/2):e.
single(s)};const r=Math.max(260,Math.min(s*.55,s-330)),c=Math.floor((r-130)/v.size);K.update({rows:v.size,columns:v.
size,rowLabels:l.map(t=>y(t.text,16)),columnLabels:l,rowTitle:"query",columnTitle:"key",height:460,cellWidth:Math.max(
3,Math.min(26,c)),cellHeight:Math.max(3,Math.min(26,c)),colour:(t,e,s)=>j(t,e)||q(e)?s.page:Q(N(t,e),s),tip:(t,e)=>[[
"query",`${t} ${_(t)}`],["key",`${e} ${_(e)}`],j(t,e)?["","later token: masked"]:["attention",k(N(t,e))]]},r);const h=
g("scale")==="head"?n:1;U.update({ramp:a?K.theme.diverging:K.theme.single,low:a?k(-h):"0",middle:a?"0":g("scale")===
"root"?"0.25":"",high:k(h),title:a?"attention, clean minus corrupted":"attention weight"});e(G,`Head ${g(
"layer")}.${g("head")}`);et()};let Q=()=>[0,0,0];const Z=()=>{const t=tt(),e=[];for(let s=0;s<v.size;s++){const[i,n]=
g("reverse")?[s,t]:[t,s];e.push(j(i,n)?null:N(i,n))}return e};const tt=()=>Math.max(0,Math.min(v.size-1,g("token")<0?
v.size+g("token"):g("token")));const et=()=>{const e=Z(),s=tt(),i=K.theme,n=V.dataset.id;V.replaceChildren(...v.
tokens.map((o,a)=>{const l=e[a]===null||!g("reverse")&&q(a),r=l?i.page:Q(e[a],i);const c=t("span",{class:
`mn-token${a===s?" mn-chosen":""}`,role:"option",id:`${n}-${a}`,"aria-selected":String(a===s),"data-index":a,text:b(
o),"aria-label":`${a} ${b(o)}${a===s?", chosen":""}${l?"":`, ${k(e[a])}`}`,onclick:()=>{V.focus({preventScroll:true});
h({token:a})},onmouseenter:()=>st(a),onmouseleave:()=>st(null)});c.style.backgroundColor=u(r);c.style.color=f(r);
return c}));V.setAttribute("aria-activedescendant",`${n}-${s}`);const o=e.map((t,e)=>[t,e]).filter(([t,e])=>t!==null&&
(g("reverse")||!q(e))).sort((t,e)=>Math.abs(e[0])-Math.abs(t[0])).slice(0,10);Y.replaceChildren(...o.map(([e,s])=>t(
"li",{},t("span",{class:"mn-p-bar",style:`width:${Math.min(100,100*Math.abs(e)).toFixed(1)}%`}),t("code",{text:
`${s} ${y(_(s),30)}`}),t("span",{class:"mn-p",text:k(e)}))));st(null)};const st=t=>{const s=tt(),i=g("reverse")?
"is attended by":"attends to",n=Z();if(t!==null&&t!==undefined){e(X,n[t]===null?`${_(t)} comes ${g("reverse")?
"before":"after"} ${_(s)}: masked`:`${_(s)} ${i} ${_(t)}: ${k(n[t])}`);return}const o=!g("reverse")&&g("hide_first")&&
!v.signed?` · the hidden first token takes ${k(N(s,0))}`:"";e(X,`Token ${s}, ${_(s)}, ${i}:${o}`)};V.onkeydown=t=>{
const e=tt(),s={ArrowLeft:e-1,ArrowRight:e+1,ArrowUp:e-1,ArrowDown:e+1,Home:0,End:v.size-1,PageUp:e-10,PageDown:e+10}[
t.key];if(s===undefined||t.ctrlKey||t.metaKey||t.altKey)return;t.preventDefault();t.stopPropagation();h({token:Math.
max(0,Math.min(v.size-1,s))})};const it=(t,e,s)=>{if(t.length!==e.length)t.replaceChildren(...e.map(t=>o(String(t),
String(t))));t.value=String(s)};const nt=()=>{const t=g("overview"),e=g("pattern");w=t.image?{...t,image:H(t.image)}:
null;v=e.values?{...e,values:E(e.values)}:null;if(document.activeElement!==T)T.value=g("text");L.value=g("which");z.
value=g("scale");F.checked=g("hide_first");I.value=g("reverse")?"to":"from";if(w){it(W,w.layers,g("layer"));it(O,w.
heads,g("head"))}J()};const ot=t("div",{class:"mn-empty","data-testid":"empty"},t("strong",{text:"No text yet"}),t(
"p",{text:"Write a text above and press Ctrl+Enter: every head's attention pattern appears here."}));const at=t("div",
{class:"mn-caption",text:"All heads, each a small query × key map. Click one, or use the arrow keys and Enter."});
const lt=t("div",{class:"mn-attention"},t("section",{"aria-label":"Chosen head"},t("div",{class:"mn-side-head"},G,U.
element),K.element),t("section",{class:"mn-read","aria-label":"Chosen token"},t("div",{class:"mn-read-head"},t("span",
{text:"The chosen token"}),I),V,X,Y));I.setAttribute("aria-label","Direction of reading");c(["overview","pattern",
"error","layer","head","scale","hide_first","reverse","which","text"],nt);c(["token"],()=>{if(v&&d.isConnected)et()});
const rt=()=>`attention_${g("layer")}_${g("head")}`;const ct=()=>{let t=M(["query","query_token","key","key_token",
"attention"]);for(let e=0;e<v.size;e++)for(let s=0;s<=e;s++)t+=M([e,v.tokens[e],s,v.tokens[s],N(e,s)]);return t};
const ht=()=>{const t=K.grid,e=(t,e)=>j(t,e)||q(e);return $({...t,colour:(t,s,i)=>e(t,s)?[255,255,255]:i.diverging(.5+
N(t,s)/2)},{title:`${g("model_info").name}: attention of layer ${g("layer")}, head ${g("head")}`,subtitle:v.signed?
"clean minus corrupted":"rows are queries, columns are keys",bar:"attention",limit:1})};const dt=A(s,l,{stem:rt,
figure:ht,table:ct,example:"attention.zarr, attention.nc"});const ut=g("choices").length>1;const mt=n.open(i,{parts:[
ut?null:a("Text",T),t("div",{class:"mn-controls"},ut?a("Prompt",L):null,a("Layer",W),a("Head",O),a("Colour scale",z),
t("label",{class:"mn-check"},F,"hide the first token (attention sink)"),m),p,ot,at,t("div",{class:"mn-heads"},B.
element),lt],drawer:dt,box:d,draw:J});nt();return mt}var I={render:F};export{I as default};
