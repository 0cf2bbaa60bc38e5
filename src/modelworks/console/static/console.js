// Fetches the live part of the page every two seconds, or as often as it says, while the page is
// looked at.
"use strict";
(() => {
  const live = document.getElementById("live");
  const state = document.getElementById("state");
  if (!live || !state) return;
  const every = Number(live.dataset.every) || 2000;

  const say = (text, stale) => {
    state.textContent = text;
    state.classList.toggle("stale", stale);
    live.classList.toggle("stale", stale);
  };

  const refresh = async () => {
    if (document.hidden) return;
    const open = new Set([...live.querySelectorAll("details[open]")].map((item) => item.id));
    const known = new Set([...live.querySelectorAll("details")].map((item) => item.id));
    try {
      const answer = await fetch(live.dataset.source, { signal: AbortSignal.timeout(5000) });
      if (answer.status === 401) {
        location.assign("/console/login"); // the session has ended
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const item of fresh.querySelectorAll("details")) {
        if (known.has(item.id)) item.open = open.has(item.id);
      }
      const selection = document.getSelection();
      if (selection && !selection.isCollapsed && live.contains(selection.anchorNode)) return;
      if (live.contains(document.activeElement) && document.activeElement.tagName !== "A") return;
      const focus = document.activeElement?.getAttribute?.("href");
      live.replaceChildren(...fresh.body.childNodes);
      if (focus) live.querySelector(`a[href="${CSS.escape(focus)}"]`)?.focus();
      say("live", false);
    } catch {
      say("no answer, trying again", true);
    }
  };

  const loop = async () => {
    await refresh();
    setTimeout(loop, every);
  };
  setTimeout(loop, every);
  document.addEventListener("visibilitychange", refresh);
})();
