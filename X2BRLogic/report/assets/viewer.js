// The bones in 3D: turned by mouse, touch and keys, coloured by bone or by expected error, picked by pointing.
"use strict";

const VIEWS = { front: [0, 1, 0], left: [-1, 0, 0], back: [0, -1, 0], top: [0, 0.02, 1] };
const TURN = Math.PI / 18; // a press of an arrow key
const NEARER = 0.85; // a press of + or -

/** Numbers from base64, little endian as all browsers' machines are. */
function unpack(text, Kind) {
  return new Kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

/** One bone after the other from the numbers of the page: places (mm, RAS), corners and errors. */
function* unpackBones(numbers) {
  const places = unpack(numbers.places, Uint16Array);
  const corners = unpack(numbers.corners, numbers.wide ? Uint32Array : Uint16Array);
  const errors = numbers.errors ? unpack(numbers.errors, Uint8Array) : null;
  let vertex = 0, corner = 0;
  for (const [vertices, faces] of numbers.counts) {
    const position = new Float32Array(3 * vertices);
    for (let i = 0; i < position.length; i++) {
      position[i] = numbers.low[i % 3] + (places[3 * vertex + i] / 65535) * numbers.size;
    }
    yield {
      position,
      index: corners.slice(corner, corner + 3 * faces),
      error: errors && Float32Array.from(errors.subarray(vertex, vertex + vertices), (step) => step * numbers.error_step),
    };
    vertex += vertices;
    corner += 3 * faces;
  }
}

class Viewer {
  /** Throws where the browser has no WebGL. */
  constructor(stage, numbers) {
    this.renderer = new THREE.WebGLRenderer({ antialias: true, alpha: true, preserveDrawingBuffer: true });
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.stage = stage;
    this.canvas = this.renderer.domElement;
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "The bones in 3D. Arrow keys turn them, plus and minus come closer, 0 starts again.");
    stage.append(this.canvas);

    this.scene = new THREE.Scene();
    this.camera = new THREE.PerspectiveCamera(28, 1, 10, 10000);
    this.camera.up.set(0, 0, 1);
    this.lamp = new THREE.DirectionalLight(0xffffff, 2.2);
    this.scene.add(new THREE.HemisphereLight(0xffffff, 0x667080, 1.3), this.lamp, this.lamp.target);
    this.meshes = new Map();
    const scale = numbers.error_colours.map((colour) => new THREE.Color(colour));
    let n = 0;
    for (const bone of unpackBones(numbers)) {
      const { name, group, colour } = numbers.bones[n++];
      this.add(name, group, new THREE.Color(colour), bone, scale, numbers.highest_error);
    }
    this.home();

    this.controls = new THREE.OrbitControls(this.camera, this.canvas);
    this.controls.target.copy(this.centre);
    this.controls.enablePan = false;
    this.controls.minDistance = 0.15 * this.radius;
    this.controls.maxDistance = 8 * this.radius;
    this.controls.addEventListener("change", () => this.draw());
    this.look("front");
    this.canvas.addEventListener("keydown", (event) => this.onKey(event));
    new ResizeObserver(() => this.resize()).observe(stage);
    this.resize();
  }

  add(name, group, colour, bone, scale, highest) {
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.BufferAttribute(bone.position, 3));
    geometry.setIndex(new THREE.BufferAttribute(bone.index, 1));
    geometry.computeVertexNormals();
    const paints = { bones: new Float32Array(bone.position.length) };
    for (let i = 0; i < bone.position.length; i += 3) colour.toArray(paints.bones, i);
    if (bone.error) {
      paints.errors = new Float32Array(bone.position.length);
      const paint = new THREE.Color();
      bone.error.forEach((error, i) => {
        const place = Math.min(error / highest, 1) * (scale.length - 1);
        const step = Math.min(Math.floor(place), scale.length - 2);
        paint.copy(scale[step]).lerp(scale[step + 1], place - step).toArray(paints.errors, 3 * i);
      });
    }
    geometry.setAttribute("color", new THREE.BufferAttribute(paints.bones, 3));
    const material = new THREE.MeshStandardMaterial({ vertexColors: true, roughness: 0.75, metalness: 0 });
    const mesh = new THREE.Mesh(geometry, material);
    mesh.userData = { name, group, paints };
    this.meshes.set(name, mesh);
    this.scene.add(mesh);
  }

  /** The middle of all bones, and how far they reach from it. */
  home() {
    const low = new THREE.Vector3(Infinity, Infinity, Infinity), high = low.clone().negate();
    for (const mesh of this.meshes.values()) {
      mesh.geometry.computeBoundingBox();
      low.min(mesh.geometry.boundingBox.min);
      high.max(mesh.geometry.boundingBox.max);
    }
    this.centre = low.clone().add(high).multiplyScalar(0.5);
    this.radius = low.distanceTo(high) / 2;
  }

  look(view) {
    const away = new THREE.Vector3(...VIEWS[view]).normalize().multiplyScalar(this.fitting());
    this.camera.position.copy(this.centre).add(away);
    this.controls.update();
    this.draw();
  }

  /** The distance from which all bones are in the picture, whichever way they are turned. */
  fitting() {
    const half = (this.camera.fov * Math.PI) / 360;
    return (0.86 * this.radius) / Math.sin(Math.min(half, Math.atan(Math.tan(half) * this.camera.aspect)));
  }

  /** Turn by angles about the body's axis and up, and come closer by a factor. */
  turn(across, up, nearer = 1) {
    const away = this.camera.position.clone().sub(this.centre);
    const length = away.length() * nearer;
    const height = Math.max(-1.55, Math.min(1.55, Math.asin(away.z / away.length()) + up));
    const around = Math.atan2(away.y, away.x) + across;
    away.set(Math.cos(height) * Math.cos(around), Math.cos(height) * Math.sin(around), Math.sin(height));
    this.camera.position.copy(this.centre).addScaledVector(away, length);
    this.controls.update();
    this.draw();
  }

  onKey(event) {
    const turns = {
      ArrowLeft: [TURN, 0], ArrowRight: [-TURN, 0], ArrowUp: [0, TURN], ArrowDown: [0, -TURN],
      "+": [0, 0, NEARER], "=": [0, 0, NEARER], "-": [0, 0, 1 / NEARER],
    };
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "0") this.look("front");
    else if (turns[event.key]) this.turn(...turns[event.key]);
    else return;
    event.preventDefault();
  }

  paint(by) {
    for (const { geometry, userData } of this.meshes.values()) {
      geometry.setAttribute("color", new THREE.BufferAttribute(userData.paints[by], 3));
    }
    this.draw();
  }

  show(group, shown) {
    for (const mesh of this.meshes.values()) if (mesh.userData.group === group) mesh.visible = shown;
    this.draw();
  }

  choose(name) {
    for (const [other, mesh] of this.meshes) mesh.material.emissive.set(other === name ? 0x2a6f8f : 0x000000);
    this.draw();
  }

  /** The name of the bone at a pointer's place, null where there is none. */
  at(event) {
    const frame = this.canvas.getBoundingClientRect();
    const place = new THREE.Vector2(
      ((event.clientX - frame.left) / frame.width) * 2 - 1, 1 - ((event.clientY - frame.top) / frame.height) * 2,
    );
    const ray = new THREE.Raycaster();
    ray.setFromCamera(place, this.camera);
    const hit = ray.intersectObjects([...this.meshes.values()].filter((mesh) => mesh.visible), false)[0];
    return hit ? hit.object.userData.name : null;
  }

  resize() {
    const { clientWidth, clientHeight } = this.stage;
    if (!clientWidth || !clientHeight) return;
    const before = this.fitting();
    this.camera.aspect = clientWidth / clientHeight;
    this.camera.updateProjectionMatrix();
    this.turn(0, 0, this.fitting() / before);
    this.renderer.setSize(clientWidth, clientHeight, false);
    this.draw();
  }

  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.lamp.position.copy(this.camera.position).add(new THREE.Vector3(0, 0, 0.6 * this.radius));
      this.lamp.target.position.copy(this.centre);
      this.renderer.render(this.scene, this.camera);
    });
  }
}
