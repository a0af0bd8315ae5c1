/* painters.js: points on a canvas, by WebGL or by the processor. */

/* A record of a point, as GET /v1/map has it: float32 x and y, uint32 embedding, uint16 repository,
 * uint16 flags. The bytes go to the graphics card as they came. */
const RECORD = 16, TWIN = 1;

const VERTEX = `#version 300 es
    in vec2 at;
    in uint repository;
    in uint flags;
    uniform vec2 centre, scale, shift;
    uniform float size;
    uniform bool twins;
    uniform sampler2D colours;
    flat out vec4 colour;
    flat out float side;
    void main() {
        vec4 own = texelFetch(colours, ivec2(int(repository & 255u), int(repository >> 8)), 0);
        bool twin = (flags & 1u) != 0u;
        bool quiet = twins && !twin;
        side = twins && twin ? size * 1.5 + 1.0 : size;
        gl_PointSize = side;
        gl_Position = own.a == 0.0 ? vec4(2.0, 2.0, 2.0, 1.0) : vec4((at - centre) * scale + shift, 0.0, 1.0);
        float strength = quiet ? 0.1 : twins ? 0.95 : own.a;
        colour = vec4(own.rgb * strength, strength);
    }`;
const FRAGMENT = `#version 300 es
    precision mediump float;
    flat in vec4 colour;
    flat in float side;
    out vec4 result;
    void main() {
        if (side > 2.5) {
            vec2 off = gl_PointCoord - 0.5;
            if (dot(off, off) > 0.25) discard;
        }
        result = colour;
    }`;

/* Whether WebGL has a graphics card: where it is computed by the processor, setting the pixels by
 * hand is several times faster. */
function hasGraphics() {
    const gl = document.createElement("canvas").getContext("webgl2", { failIfMajorPerformanceCaveat: true });
    if (!gl) return false;
    const told = gl.getExtension("WEBGL_debug_renderer_info");
    const name = told ? gl.getParameter(told.UNMASKED_RENDERER_WEBGL) : "";
    gl.getExtension("WEBGL_lose_context")?.loseContext();
    return !/swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

/* Draws points with WebGL 2; null where that cannot be had. */
function glPainter(canvas) {
    const gl = hasGraphics() ? canvas.getContext("webgl2", { antialias: false, alpha: true, depth: false }) : null;
    if (!gl) return null;
    const program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
        const shader = gl.createShader(type);
        gl.shaderSource(shader, source);
        gl.compileShader(shader);
        gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return null;
    const place = Object.fromEntries(["centre", "scale", "shift", "size", "twins", "colours"].map((name) => [name, gl.getUniformLocation(program, name)]));
    let points = 0;
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
    return {
        ratio: 2,
        load(records) {
            points = records.byteLength / RECORD;
            gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
            gl.bufferData(gl.ARRAY_BUFFER, records, gl.STATIC_DRAW);
            const at = gl.getAttribLocation(program, "at");
            gl.enableVertexAttribArray(at);
            gl.vertexAttribPointer(at, 2, gl.FLOAT, false, RECORD, 0);
            for (const [name, offset] of [["repository", 12], ["flags", 14]]) {
                const where = gl.getAttribLocation(program, name);
                if (where < 0) continue;
                gl.enableVertexAttribArray(where);
                gl.vertexAttribIPointer(where, 1, gl.UNSIGNED_SHORT, RECORD, offset);
            }
        },
        colour(rows) {
            const height = Math.max(1, Math.ceil(rows.length / 256)), pixels = new Uint8Array(256 * height * 4);
            rows.forEach((row, i) => pixels.set(row, i * 4));
            gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
        },
        paint({ width, height, x, y, k, ox, oy, size, twins }) {
            gl.viewport(0, 0, width, height);
            gl.clearColor(0, 0, 0, 0);
            gl.clear(gl.COLOR_BUFFER_BIT);
            gl.uniform2f(place.centre, x, y);
            gl.uniform2f(place.scale, (2 * k) / width, (2 * k) / height);
            gl.uniform2f(place.shift, (2 * ox) / width - 1, 1 - (2 * oy) / height);
            gl.uniform1f(place.size, size);
            gl.uniform1i(place.twins, twins ? 1 : 0);
            if (points > 0) gl.drawArrays(gl.POINTS, 0, points);
        },
    };
}

/* The same without a graphics card: discs into the pixels themselves. */
function pixelPainter(canvas) {
    const context = canvas.getContext("2d");
    let view = null, points = 0, image = null, inks = [], faint = [];
    const ink = ([r, g, b], a) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;
    /* Where each row of a disc begins and ends, from its middle. */
    const disc = (side) => Array.from({ length: side }, (_, row) => {
        const off = row + 0.5 - side / 2, half = side < 4 ? side / 2 : Math.sqrt(Math.max(0.25, (side * side) / 4 - off * off));
        return [Math.round(side / 2 - half), Math.round(side / 2 + half)];
    });
    return {
        ratio: 1,
        load(records) {
            view = { floats: new Float32Array(records.buffer), shorts: new Uint16Array(records.buffer) };
            points = records.byteLength / RECORD;
        },
        colour(rows) {
            inks = Uint32Array.from(rows, (row) => (row[3] === 0 ? 0 : ink(row, 215)));
            faint = Uint32Array.from(rows, (row) => (row[3] === 0 ? 0 : ink(row, 30)));
        },
        paint({ width, height, x, y, k, ox, oy, size, twins }) {
            if (!image || image.width !== width || image.height !== height) image = context.createImageData(width, height);
            const pixels = new Uint32Array(image.data.buffer), { floats, shorts } = view;
            const small = Math.max(1, Math.round(size)), large = Math.round(size * 1.5 + 1);
            const shapes = { [small]: disc(small), [large]: disc(large) };
            pixels.fill(0);
            /* Those that are near-duplicates come last, so that they lie above the others. */
            for (let pass = twins ? 0 : 1; pass < 2; pass++) {
                const tints = pass === 0 ? faint : inks, side = twins && pass === 1 ? large : small, half = side / 2, shape = shapes[side];
                for (let i = 0; i < points; i++) {
                    if (twins && (shorts[i * 8 + 7] & TWIN) !== pass) continue;
                    const tint = tints[shorts[i * 8 + 6]];
                    const px = ((floats[i * 4] - x) * k + ox - half + 0.5) | 0, py = ((y - floats[i * 4 + 1]) * k + oy - half + 0.5) | 0;
                    if (!tint || px < 1 || py < 1 || px + side > width || py + side > height) continue;
                    if (side === 2) {
                        const at = py * width + px;
                        pixels[at] = pixels[at + 1] = pixels[at + width] = pixels[at + width + 1] = tint;
                        continue;
                    }
                    for (let row = 0; row < side; row++) {
                        const line = (py + row) * width + px;
                        for (let at = line + shape[row][0], end = line + shape[row][1]; at < end; at++) pixels[at] = tint;
                    }
                }
            }
            context.putImageData(image, 0, 0);
        },
    };
}
