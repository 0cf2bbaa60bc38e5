// Buttons that change something: each asks why, and is sent to the public API once confirmed.
"use strict";
(() => {
  const dialog = document.getElementById("act");
  if (!dialog) return;
  const form = dialog.querySelector("form");
  const part = (name) => document.getElementById(`act-${name}`);
  let asked = {};

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-verb]");
    if (!button) return;
    asked = { ...button.dataset };
    part("title").textContent = `${button.textContent}?`;
    part("means").textContent = asked.means;
    part("do").textContent = button.textContent;
    part("why").hidden = asked.verb === "resume"; // going on needs no reason
    part("said").textContent = "";
    part("do").disabled = false;
    dialog.showModal();
  });
  part("cancel").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    form.reset(); // the key is not kept
    // What has the focus is not replaced by the page's live part: the button gives it back.
    setTimeout(() => document.activeElement?.blur(), 0);
  });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const headers = { "Content-Type": "application/json" };
    if (form.elements.key) headers.Authorization = `Bearer ${form.elements.key.value.trim()}`;
    const body = asked.verb === "resume" ? {} : { reason: form.elements.reason.value };
    if (asked.arm) body.arm = asked.arm;
    part("do").disabled = true;
    try {
      const answer = await fetch(asked.path, {
        method: "POST",
        headers,
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(20000),
      });
      if (answer.ok) {
        dialog.close();
        document.dispatchEvent(new Event("visibilitychange")); // the live part is fetched now
        return;
      }
      part("said").textContent = (await answer.json()).detail;
    } catch {
      part("said").textContent = "no answer: see what happened before you try again";
    }
    part("do").disabled = false;
  });
})();
