// The viewer: every <div class="scene"> holds a part as JSON and gets a canvas when it is unfolded.
(() => {
  "use strict";
  const HOLE = 0xffff;
  const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));

  function surface(part) {
    const [height, width] = part.size;
    const numbers = new Uint16Array(bytes(part.points).buffer);
    const points = new Float32Array(numbers.length), places = new Float32Array(numbers.length / 3 * 2);
    const low = [HOLE, HOLE, HOLE], high = [0, 0, 0];
    const there = at => numbers[3 * at] !== HOLE;
    for (let at = 0; at < height * width; at++) {
      places[2 * at] = (at % width + 0.5) / width;
      places[2 * at + 1] = 1 - (Math.floor(at / width) + 0.5) / height;
      for (let axis = 0; there(at) && axis < 3; axis++) {
        low[axis] = Math.min(low[axis], numbers[3 * at + axis]);
        high[axis] = Math.max(high[axis], numbers[3 * at + axis]);
      }
    }
    const size = Math.max(high[0] - low[0], high[1] - low[1], 1);
    for (let n = 0; n < numbers.length; n++)
      points[n] = (numbers[n] - (low[n % 3] + high[n % 3]) / 2) / size;
    const faces = [];
    for (let row = 0; row + 1 < height; row++)
      for (let column = 0; column + 1 < width; column++) {
        const at = row * width + column;
        const ring = [at, at + width, at + width + 1, at + 1].filter(there);
        for (let n = 2; n < ring.length; n++) faces.push(ring[0], ring[n - 1], ring[n]);
      }
    const shape = new THREE.BufferGeometry();
    shape.setAttribute("position", new THREE.BufferAttribute(points, 3));
    shape.setAttribute("uv", new THREE.BufferAttribute(places, 2));
    shape.setIndex(new THREE.BufferAttribute(new Uint32Array(faces), 1));
    shape.computeVertexNormals();
    return shape;
  }

  function picture(link, drawn, sharp) {
    const image = new Image(), texture = new THREE.Texture(image);
    image.onload = () => { texture.needsUpdate = true; drawn(); };
    image.src = link;
    texture.colorSpace = sharp ? THREE.NoColorSpace : THREE.SRGBColorSpace;
    if (sharp) { texture.magFilter = texture.minFilter = THREE.NearestFilter; texture.generateMipmaps = false; }
    texture.anisotropy = 8;
    return texture;
  }

  function show(place, part) {
    const renderer = new THREE.WebGLRenderer({ antialias: true, alpha: true });
    const world = new THREE.Scene(), camera = new THREE.PerspectiveCamera(35, 2, 0.01, 50);
    camera.up.set(0, 0, 1);
    camera.position.set(0, -1.1, 1.3);
    const controls = new THREE.OrbitControls(camera, renderer.domElement);
    const draw = () => renderer.render(world, camera);
    const seen = part.seen && picture(part.seen, draw, true);
    const looks = {};
    for (const name of ["photograph", "map"])
      looks[name] = new THREE.MeshLambertMaterial({
        map: picture(part[name], draw, false), alphaMap: seen, alphaTest: seen ? 0.5 : 0, side: THREE.DoubleSide,
      });
    const mesh = new THREE.Mesh(surface(part), looks.photograph);
    const lamp = new THREE.DirectionalLight(0xffffff, 2.2);
    lamp.position.set(-1, 1, 0.6);  // of the camera: upper left, as in the relief
    camera.add(lamp);
    world.add(camera, new THREE.AmbientLight(0xffffff, 1.6), mesh);
    controls.maxPolarAngle = 1.55;
    controls.minDistance = 0.2;
    controls.maxDistance = 6;
    controls.target.set(0, -0.06, 0);  // what is nearer looks larger
    controls.update();
    controls.saveState();
    controls.addEventListener("change", draw);
    renderer.domElement.addEventListener("dblclick", () => controls.reset());
    const fit = () => {
      const width = place.clientWidth, height = Math.round(Math.min(Math.max(width / 2, 280), 0.8 * innerHeight));
      renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
      renderer.setSize(width, height);
      camera.aspect = width / height;
      camera.updateProjectionMatrix();
      draw();
    };
    const bar = document.createElement("p");
    const buttons = Object.keys(looks).map(name => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.onclick = () => {
        mesh.material = looks[name];
        buttons.forEach(each => each.setAttribute("aria-pressed", each === button));
        draw();
      };
      return button;
    });
    const height = document.createElement("input");
    Object.assign(height, { type: "range", min: 1, max: 8, step: 0.1, value: 1 });
    height.oninput = () => { mesh.scale.z = +height.value; draw(); };
    const label = document.createElement("label");
    label.append("heights ", height);
    const hint = document.createElement("span");
    hint.className = "soft";
    hint.textContent = "Drag to turn, wheel or two fingers to zoom, double-click to start over.";
    bar.append(...buttons, label, hint);
    place.replaceChildren(bar, renderer.domElement);
    buttons[0].onclick();
    const watch = new ResizeObserver(fit);
    watch.observe(place);
    return () => { watch.disconnect(); controls.dispose(); renderer.dispose(); renderer.forceContextLoss(); place.replaceChildren(); };
  }

  for (const place of document.querySelectorAll(".scene")) {
    const part = JSON.parse(place.querySelector("script").textContent), fold = place.closest("details");
    let close = null;
    const turn = () => {
      if (!fold.open && close) { close(); close = null; }
      if (!fold.open || close) return;
      try { close = show(place, part); }
      catch (error) { place.textContent = "This browser cannot draw in 3D: " + error.message; }
    };
    fold.addEventListener("toggle", turn);
    turn();
  }
})();
