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

async function ask() {
  if (typeof RTCPeerConnection === "undefined") {
    say(line("good", "✓", "Your browser has no WebRTC, or it is switched off."));
    return;
  }
  say(line("unknown", "…", "Asking your browser …"));
  const found = await candidates();
  let whoami = "";
  try {
    whoami = (await (await fetch("/api/v1/whoami")).json()).address;
  } catch {
    // it is compared with nothing
  }
  const lines = [];
  for (const [address, kind] of found) {
    if (address.endsWith(".local")) {
      lines.push(line("good", "✓", "hidden: your browser told a name made for this page alone (" + address + ")"));
    } else if (address === whoami) {
      lines.push(line("good", "✓", address + ", the address that this page was asked from"));
    } else if (kind === "host") {
      lines.push(line("note", "!", address + ": your device's own address, told to any page that asks"));
    } else {
      lines.push(line("bad", "✕", address + ": datagrams leave from here, and this page was asked from " + (whoami || "elsewhere") + ". They go around the proxy."));
    }
  }
  say(...(lines.length ? lines : [line("good", "✓", "none: your browser tells no address")]));
}

ask();
