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
for (const place of document.querySelectorAll("[data-back]")) {
  let gone = false;
  const look = async () => {
    try {
      await fetch(place.dataset.back, { method: "HEAD", headers: { "X-Roost-Poll": "1" } });
      if (gone) { location.assign(place.dataset.back); return; }
    } catch { gone = true; }
    setTimeout(look, 3000);
  };
  setTimeout(look, 3000);
}
