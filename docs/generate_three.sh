#!/bin/sh
# Makes src/blemish/report/three.min.js: what scene.js needs of three.js, in one file, with its licence.
# Needs npm; run it to take a newer version, then look at a report and run tests/report/test_scene.py.
set -eu
three=0.187.0 esbuild=0.28.2
target=$(cd "$(dirname "$0")/../src/blemish/report" && pwd)/three.min.js
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-save "three@$three" "esbuild@$esbuild"
cat >part.js <<'JS'
export {
  AmbientLight, BufferAttribute, BufferGeometry, DirectionalLight, DoubleSide, Mesh, MeshLambertMaterial,
  NearestFilter, NoColorSpace, PerspectiveCamera, SRGBColorSpace, Scene, Texture, WebGLRenderer,
} from "three";
export { OrbitControls } from "three/addons/controls/OrbitControls.js";
JS
node_modules/.bin/esbuild part.js --bundle --minify --format=iife --global-name=THREE --target=es2020 \
    --charset=ascii --legal-comments=none --banner:js="/* three.js $three, parts of it.
$(sed 's/©/(c)/' node_modules/three/LICENSE)
*/" --outfile="$target"
