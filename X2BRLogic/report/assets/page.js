// What the page's controls do, and one bone chosen everywhere: in the film, in 3D and in the table.
"use strict";

(() => {
  const numbers = JSON.parse(document.getElementById("numbers").textContent);
  const bones = new Map(numbers.bones.map((bone) => [bone.name, bone]));
  const tip = document.getElementById("tip");
  const stage = document.getElementById("viewer");
  let viewer = null;
  let kept = null;
  try {
    viewer = new Viewer(stage, numbers);
    document.getElementById("still").hidden = true;
    document.getElementById("view-tools").hidden = false;
  } catch (error) {
    document.getElementById("no-view").textContent = "This browser shows no WebGL; here are the bones from three sides.";
  }

  function choose(name) {
    const bone = bones.get(name);
    for (const element of document.querySelectorAll("[data-bone]")) {
      element.classList.toggle("chosen", bone !== undefined && element.dataset.bone === name);
    }
    if (viewer) viewer.choose(name);
    tip.hidden = bone === undefined;
    if (bone === undefined) return;
    const lines = [`Volume ${bone.volume}`];
    if (bone.error !== null) lines.push(`Expected error ${bone.error} mm`);
    if (bone.confidence !== null) lines.push(`Confidence ${bone.confidence.toFixed(2)}`);
    if (bone.box !== null) lines.push(`Box in the film ${bone.box}`);
    tip.replaceChildren();
    const title = document.createElement("strong");
    title.textContent = bone.title;
    tip.append(title, ...lines.map((line) => Object.assign(document.createElement("span"), { textContent: line })));
  }

  const point = (name) => choose(name ?? kept);
  const keep = (name) => {
    kept = name === kept ? null : name;
    choose(kept);
  };

  for (const path of document.querySelectorAll("#film-outlines [data-bone]")) {
    path.addEventListener("pointerenter", () => point(path.dataset.bone));
    path.addEventListener("pointerleave", () => point(null));
    path.addEventListener("click", () => keep(path.dataset.bone));
  }
  for (const button of document.querySelectorAll("#bones .link")) {
    button.addEventListener("click", () => keep(button.closest("tr").dataset.bone));
  }

  for (const box of document.querySelectorAll("#groups input")) {
    const apply = () => {
      for (const element of document.querySelectorAll("#film [data-group]")) {
        if (element.dataset.group === box.dataset.group) element.toggleAttribute("hidden", !box.checked);
      }
      if (viewer) viewer.show(box.dataset.group, box.checked);
    };
    box.addEventListener("change", apply);
    apply(); // a browser may keep what was chosen when a page is loaded again
  }
  for (const part of ["outlines", "boxes"]) {
    const box = document.getElementById(part);
    if (!box) continue;
    const apply = () => document.getElementById(`film-${part}`).toggleAttribute("hidden", !box.checked);
    box.addEventListener("change", apply);
    apply();
  }

  if (!viewer) return;
  const colours = document.getElementById("colours");
  if (colours) {
    const apply = () => {
      viewer.paint(colours.value);
      document.getElementById("legend").hidden = colours.value !== "errors";
    };
    colours.addEventListener("change", apply);
    apply();
  }
  for (const button of document.querySelectorAll("[data-view]")) {
    button.addEventListener("click", () => viewer.look(button.dataset.view));
  }
  let pressed = null;
  viewer.canvas.addEventListener("pointermove", (event) => { if (!event.buttons) point(viewer.at(event)); });
  viewer.canvas.addEventListener("pointerleave", () => point(null));
  viewer.canvas.addEventListener("pointerdown", (event) => { pressed = [event.clientX, event.clientY]; });
  viewer.canvas.addEventListener("click", (event) => {
    if (pressed && Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) < 4) keep(viewer.at(event));
  });
})();
