// Keeps the page up to date while the visit goes on, and asks the browser for its addresses. It speaks to this canary alone.
"use strict";

const results = document.getElementById("results");
const opened = Date.now();
const most = 30000; // milliseconds for which the page is kept up to date

async function renew() {
  try {
    const r = await fetch(location.pathname + "?part=results", {cache: "no-store"});
    if (r.ok) {
      const fresh = new DOMParser().parseFromString(await r.text(), "text/html").body;
      if (fresh.innerHTML.trim() !== results.innerHTML.trim()) {
        results.replaceChildren(...fresh.childNodes);
      }
    }
  } catch {
    // the next one may do
  }
  again();
}

function again() {
  const settled = results.querySelector("[data-settled]");
  if (settled && settled.dataset.settled === "true" || Date.now() - opened > most) {
    return;
  }
  setTimeout(renew, 1000);
}

again();

// What a browser tells to any page that asks, by WebRTC (RFC 8839, section 5.1).
const webrtc = document.getElementById("webrtc");

function say(...lines) {
  webrtc.replaceChildren(...lines);
}

function line(kind, sign, text) {
  const p = document.createElement("p");
  p.className = "match " + kind;
  const s = document.createElement("span");
  s.setAttribute("aria-hidden", "true");
  s.textContent = sign + " ";
  p.append(s, text);
  return p;
}

function candidates() {
  return new Promise(resolve => {
    const found = new Map();
    const port = document.body.dataset.stun;
    const pc = new RTCPeerConnection({iceServers: port ? [{urls: "stun:" + location.hostname + ":" + port}] : []});
    const done = () => { pc.close(); resolve(found); };
    pc.onicecandidate = e => {
      if (!e.candidate) { done(); return; }
      const part = e.candidate.candidate.split(" ");
      if (part.length > 7) { found.set(part[4], part[7]); }
    };
    pc.createDataChannel("");
    pc.createOffer().then(o => pc.setLocalDescription(o)).catch(done);
    setTimeout(done, 6000);
  });
}

// network is what of an address is surely of one holder: the first 24 bits of IPv4, the first 64 of IPv6.
function network(address) {
  if (!address.includes(":")) {
    return address.split(".").slice(0, 3).join(".");
  }
  const [head, tail] = address.split("::").map(part => part ? part.split(":") : []);
  const all = tail === undefined ? head : [...head, ...Array(8 - head.length - tail.length).fill("0"), ...tail];
  return all.slice(0, 4).map(group => parseInt(group, 16)).join(":");
}

// visitors are the addresses that this visit's requests came from.
async function visitors() {
  const r = await fetch("/api/v1/labels/" + document.body.dataset.label, {cache: "no-store"});
  const came = r.ok ? (await r.json()).requests : [];
  return came.map(c => c.from.replace(/:\d+$/, "").replace(/^\[|\]$/g, ""));
}

function judge(address, kind, came) {
  const family = a => a.includes(":");
  if (came.some(a => network(a) === network(address))) {
    return line("good", "✓", address + ", where this page was asked from too");
  }
  if (kind === "host") {
    return line("note", "!", address + ": your device's own address, told to any page that asks");
  }
  if (came.some(a => family(a) === family(address))) {
    return line("bad", "✕", address + ": datagrams leave from here, and this page was asked from elsewhere. If you use a proxy, they go around it.");
  }
  return line("note", "!", address + ": datagrams leave from here. This page was not asked over " + (family(address) ? "IPv6" : "IPv4") + ": if you use a proxy, they go around it.");
}

async function ask() {
  if (typeof RTCPeerConnection === "undefined") {
    say(line("good", "✓", "Your browser has no WebRTC, or it is switched off."));
    return;
  }
  say(line("unknown", "…", "Asking your browser …"));
  const found = await candidates();
  let came = [];
  try {
    came = await visitors();
  } catch {
    // it is compared with nothing
  }
  const lines = [];
  const hidden = [...found.keys()].filter(a => a.endsWith(".local"));
  if (hidden.length) {
    lines.push(line("good", "✓", "your device's own addresses are hidden, behind names made for this page alone"));
  }
  for (const [address, kind] of found) {
    if (!address.endsWith(".local")) {
      lines.push(judge(address, kind, came));
    }
  }
  document.getElementById("around").hidden = !lines.some(l => l.classList.contains("bad"));
  say(...(lines.length ? lines : [line("good", "✓", "none: your browser tells no address")]));
}

ask();
