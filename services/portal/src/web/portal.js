// What pages do beyond HTML. Each works without it, with one click more.
"use strict";

// https://NAME.local/pair#CODE, as the QR code has it: what follows the # never leaves the browser.
for (const form of document.querySelectorAll("[data-code-form]")) {
  const field = form.elements.namedItem("code");
  const code = decodeURIComponent(location.hash.slice(1)).slice(0, 40);
  if (code && !field.value) {
    field.value = code;
    history.replaceState(null, "", location.pathname);
  }
}

// A button shows what was typed into a password field.
for (const button of document.querySelectorAll("button.reveal")) {
  const field = document.getElementById(button.getAttribute("aria-controls"));
  button.hidden = false;
  button.addEventListener("click", () => {
    const shown = field.type === "text";
    field.type = shown ? "password" : "text";
    button.textContent = shown ? "Show" : "Hide";
    button.setAttribute("aria-pressed", String(!shown));
  });
  // Browsers offer to keep a password only if the field is one.
  field.form.addEventListener("submit", () => { field.type = "password"; });
}

// A button copies what stands in an element.
for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  const name = button.textContent;
  button.addEventListener("click", async () => {
    const from = document.getElementById(button.dataset.copy);
    const lines = [...from.querySelectorAll("li")].map((item) => item.textContent.trim());
    await navigator.clipboard.writeText(lines.length ? lines.join("\n") : from.textContent.trim());
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = name; }, 2000);
  });
}

// A form is sent once: a second click on a slow box would be refused, or do it twice.
for (const form of document.querySelectorAll("form[method=post]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "yes";
    form.setAttribute("aria-busy", "true");
  });
}
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    form.removeAttribute("aria-busy");
  }
});

// A piece of the page is looked at again and again; the box writes it, escaped like any page.
for (const place of document.querySelectorAll("[data-poll]")) {
  const again = Number(place.dataset.every) * 1000;
  const follows = "follow" in place.dataset;
  const look = async () => {
    if (!document.hidden && place.dataset.paused !== "yes") {
      try {
        const answer = await fetch(place.dataset.poll, { headers: { "X-Roost-Poll": "1" } });
        if (answer.status === 401) { location.assign("/sign-in"); return; }
        const text = answer.ok ? await answer.text() : null;
        // A screen reader is told only what is new.
        if (text !== null && text !== place.dataset.last) {
          const atEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 40;
          place.innerHTML = text;
          place.dataset.last = text;
          if (follows && atEnd) place.scrollTop = place.scrollHeight;
        }
      } catch { /* the box may be restarting: the next look tells */ }
    }
    setTimeout(look, again);
  };
  if (follows) place.scrollTop = place.scrollHeight;
  setTimeout(look, again);
}
for (const part of document.querySelectorAll("[data-script]")) part.hidden = false;
for (const button of document.querySelectorAll("[data-pause]")) {
  const place = document.getElementById(button.dataset.pause);
  button.addEventListener("click", () => {
    const paused = place.dataset.paused !== "yes";
    place.dataset.paused = paused ? "yes" : "no";
    button.textContent = paused ? "Go on" : "Pause";
    button.setAttribute("aria-pressed", String(paused));
  });
}

// After a restart: goes on as soon as the box answers again.
const goOnWhenBack = (path) => {
  let gone = false;
  // A page in the background looks seldom, and may miss that the box was away.
  const latest = Date.now() + 120_000;
  const look = async () => {
    try {
      // A box that is starting may take a connection and say nothing.
      const signal = AbortSignal.timeout(5000);
      await fetch(path, { method: "HEAD", headers: { "X-Roost-Poll": "1" }, signal });
      if (gone || Date.now() > latest) { location.assign(path); return; }
    } catch { gone = true; }
    setTimeout(look, 3000);
  };
  setTimeout(look, 3000);
};
for (const place of document.querySelectorAll("[data-back]")) goOnWhenBack(place.dataset.back);

// Passkeys (WebAuthn level 3): the box's options are JSON with bytes in base64url, and so is the answer.
for (const place of document.querySelectorAll("[data-passkey]")) {
  const part = (name) => place.querySelector(`[data-part=${name}]`);
  const bytes = (text) =>
    Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
  const base64url = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  const ask = ({ publicKey }) => {
    publicKey.challenge = bytes(publicKey.challenge);
    if (place.dataset.passkey === "get") return navigator.credentials.get({ publicKey });
    publicKey.user.id = bytes(publicKey.user.id);
    for (const known of publicKey.excludeCredentials ?? []) known.id = bytes(known.id);
    return navigator.credentials.create({ publicKey });
  };
  const toJson = (passkey) => {
    const response = {};
    for (const name of ["attestationObject", "authenticatorData", "clientDataJSON", "signature", "userHandle"]) {
      if (name in passkey.response) {
        const value = passkey.response[name];
        response[name] = value === null ? null : base64url(value);
      }
    }
    return JSON.stringify({ id: passkey.id, rawId: base64url(passkey.rawId), type: passkey.type, response });
  };
  // With a certificate that it does not trust, a browser says either of these.
  const isOfCertificate = (error) => error.name === "SecurityError" || /certificate/i.test(error.message);
  const say = (text) => { part("says").textContent = text; };
  const failed = (error) => {
    say("");
    if (isOfCertificate(error)) { part("untrusted").hidden = false; return; }
    if (error instanceof TypeError || error instanceof SyntaxError) { say("The box does not answer. Try again in a minute."); return; }
    if (error.name === "InvalidStateError") { say("This device has a passkey for this box already."); return; }
    if (error.name === "NotSupportedError") { say("This device cannot make such a passkey. Take another one."); return; }
    if (error.name !== "NotAllowedError") { say(error.message); return; }
    say("No passkey was used: that was cancelled, took longer than two minutes, or this device has none for this name. "
      + "If your browser warns of this page's certificate, let it be trusted first.");
  };

  if (!window.PublicKeyCredential) {
    part("none").hidden = false;
    for (const hidden of ["form", "go"]) if (part(hidden)) part(hidden).hidden = true;
    continue;
  }
  if (place.dataset.passkey === "look") {
    // Before somebody types a password for nothing: a question that shows nothing, about a passkey that
    // there is not, is refused only by a browser that would refuse all.
    (async () => {
      if (!await PublicKeyCredential.isConditionalMediationAvailable?.()) return;
      const stop = new AbortController();
      setTimeout(() => stop.abort(), 3000);
      const random = () => crypto.getRandomValues(new Uint8Array(32));
      const publicKey = { challenge: random(), allowCredentials: [{ type: "public-key", id: random() }] };
      try {
        await navigator.credentials.get({ mediation: "conditional", signal: stop.signal, publicKey });
      } catch (error) {
        if (!isOfCertificate(error)) return;
        part("untrusted").hidden = false;
        part("form").hidden = true;
      }
    })();
    continue;
  }
  const form = place.querySelector("form");
  part("go").addEventListener("click", async () => {
    part("go").disabled = true;
    say("");
    try {
      let options = place.dataset.options;
      if (options === undefined) {
        const answer = await fetch("/sign-in/passkey/begin", { method: "POST" });
        options = await answer.text();
        if (!answer.ok) { say(JSON.parse(options).because); return; }
      }
      form.elements.namedItem("answer").value = toJson(await ask(JSON.parse(options)));
      form.requestSubmit();
    } catch (error) {
      failed(error);
    } finally {
      part("go").disabled = false;
    }
  });
}

// An update from a file (docs/bundle-format.md): the box is shown the file's beginning, says which
// parts of the rest it lacks, and gets those. The browser reads them from the file as it sends them.
for (const place of document.querySelectorAll("[data-upload]")) {
  const part = (name) => place.querySelector(`[data-part=${name}]`);
  const input = place.querySelector("input[type=file]");
  const bar = part("bar");
  const size = (bytes) => {
    if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
    return bytes < 1e9 ? `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
  };
  // What no other site can send, and what the box answered.
  const headers = { "X-Roost-Form": place.dataset.upload, "Content-Type": "application/octet-stream" };
  const sentence = (text) => {
    const whole = text.charAt(0).toUpperCase() + text.slice(1);
    return /[.!?]$/.test(whole) ? whole : `${whole}.`;
  };
  const why = (answer) => [answer.because ?? answer.what, answer.hint].filter(Boolean).map(sentence).join(" ");
  const say = (text, bad = false) => {
    const says = part("says");
    says.textContent = text;
    says.className = bad ? "wrong" : "";
  };
  const busy = (on) => { input.disabled = on; place.setAttribute("aria-busy", String(on)); };

  const readHead = async (file) => {
    const begins = new DataView(await file.slice(0, 16).arrayBuffer());
    const magic = begins.byteLength === 16
      && [..."ROOSTBDL"].every((letter, at) => begins.getUint8(at) === letter.charCodeAt(0));
    if (!magic || begins.getUint16(8, true) !== 1) throw new Error("This file is no update for a Roost box.");
    const at = 16 + 96 * begins.getUint16(10, true);
    const length = begins.getUint32(12, true);
    if (length > 256 * 1024) throw new Error("This file is damaged.");
    let manifest;
    try {
      manifest = JSON.parse(await file.slice(at, at + length).text());
    } catch { throw new Error("This file is damaged."); }
    const head = at + length + 64 * manifest.chunks.rows + 76 * manifest.deltas.rows;
    if (file.size !== head + manifest.payload_bytes) throw new Error("This file is not whole: copy it again.");
    return { head, notes: manifest.release.notes };
  };

  // What was chosen last; an answer about another file comes too late.
  let chosen = null;
  const forget = () => {
    chosen = null;
    part("offer").hidden = true;
    bar.hidden = true;
  };
  input.addEventListener("change", async () => {
    forget();
    const file = input.files[0];
    if (!file) { say(""); return; }
    busy(true);
    say("Comparing it with the box. That takes up to a minute.");
    try {
      const { head, notes } = await readHead(file);
      const answer = await fetch("/updates/offer", { method: "POST", headers, body: file.slice(0, head) });
      if (answer.status === 401) { location.assign("/sign-in"); return; }
      const offer = await answer.json();
      if (!answer.ok) { say(why(offer), true); return; }
      chosen = { file, head, offer };
      part("from").textContent = offer.from.name;
      part("to").textContent = offer.to.name;
      part("send").textContent = size(offer.send);
      part("away").textContent = offer.downtime_s === null
        ? "for a minute or two" : `for about ${Math.ceil(offer.downtime_s / 5) * 5} seconds`;
      part("notes").textContent = notes.trim();
      part("notes").hidden = !notes.trim();
      part("offer").hidden = false;
      say(`The box can install ${offer.to.name}.`);
    } catch (error) {
      say(error instanceof TypeError ? "The box does not answer, or the file cannot be read." : error.message, true);
    } finally {
      busy(false);
      // The same file can be chosen again.
      if (!chosen) input.value = "";
    }
  });
  part("cancel").addEventListener("click", () => {
    forget();
    input.value = "";
    say("Nothing was installed.");
    input.focus();
  });
  part("install").addEventListener("click", () => {
    const { file, head, offer } = chosen;
    forget();
    const length = new DataView(new ArrayBuffer(4));
    length.setUint32(0, head, true);
    const parts = offer.ranges.map(([from, to]) => file.slice(head + from, head + to));
    const body = new Blob([length.buffer, file.slice(0, head), ...parts]);
    const request = new XMLHttpRequest();
    const failed = (text) => { busy(false); bar.hidden = true; input.value = ""; say(text, true); };
    let told = -1;
    request.upload.addEventListener("progress", (event) => {
      bar.value = 100 * event.loaded / body.size;
      // A screen reader is told every tenth.
      const tenth = Math.floor(10 * event.loaded / body.size);
      if (tenth === told) return;
      told = tenth;
      say(tenth < 10 ? `Sending: ${tenth * 10} %.` : "All is sent. The box checks what it has written; that takes some minutes.");
    });
    request.addEventListener("load", () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* the status tells enough */ }
      if (request.status !== 200) { failed(why(answer) || "The box refuses."); return; }
      bar.hidden = true;
      say(`The box restarts and tries ${offer.to.name}. This page goes on when it is back.`);
      goOnWhenBack("/updates");
    });
    request.addEventListener("error", () => {
      failed("The connection broke off. The box runs as before; choose the file again, and only the rest is sent.");
    });
    busy(true);
    bar.value = 0;
    bar.hidden = false;
    say("Sending.");
    request.open("POST", "/updates/install");
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.send(body);
  });
}
