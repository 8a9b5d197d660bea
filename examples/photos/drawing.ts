/** The layers that pictures.ts composes: each draws one thing as SVG, with chance from the generator it is given. */
export const WIDTH = 720;
export const HEIGHT = 480;

type Random = () => number;
export type Layer = (random: Random) => string;

/** mulberry32, seeded with a text: small, fast, and even enough for hills. */
export function seeded(text: string): Random {
  let state = [...text].reduce((sum, character) => (Math.imul(sum, 31) + character.charCodeAt(0)) | 0, 7);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const round = (value: number) => Math.round(value * 10) / 10;
const times = (count: number, draw: (index: number) => string) =>
  Array.from({ length: count }, (_, i) => draw(i)).join('');
const ground = (points: string, colour: string) =>
  `<path d="M0,${HEIGHT} L${points} L${WIDTH},${HEIGHT} Z" fill="${colour}"/>`;

function gradient(id: string, colours: readonly string[], attributes = 'x1="0" y1="0" x2="0" y2="1"'): string {
  const stops = colours.map((colour, i) => `<stop offset="${i / (colours.length - 1)}" stop-color="${colour}"/>`);
  return `<linearGradient id="${id}" ${attributes}>${stops.join('')}</linearGradient>`;
}

export function sky(...colours: readonly string[]): Layer {
  return () => `${gradient('sky', colours)}<rect width="${WIDTH}" height="${HEIGHT}" fill="url(#sky)"/>`;
}

export function disc(x: number, y: number, radius: number, colour: string): Layer {
  const glow = (factor: number, opacity: number) =>
    `<circle cx="${x}" cy="${y}" r="${radius * factor}" fill="${colour}" opacity="${opacity}"/>`;
  return () => glow(2.6, 0.12) + glow(1.7, 0.18) + glow(1, 1);
}

export function stars(count: number): Layer {
  return (random) =>
    times(count, () => {
      const [x, y] = [round(random() * WIDTH), round(random() * HEIGHT * 0.62)];
      return `<circle cx="${x}" cy="${y}" r="${round(0.4 + random() * 1.1)}" fill="#fff" opacity="${round(0.3 + random() * 0.7)}"/>`;
    });
}

export function flakes(count: number): Layer {
  return (random) =>
    times(count, () => {
      const [x, y] = [round(random() * WIDTH), round(random() * HEIGHT)];
      return `<circle cx="${x}" cy="${y}" r="${round(0.8 + random() * 2)}" fill="#fff" opacity="${round(0.4 + random() * 0.5)}"/>`;
    });
}

/** A soft line: three waves of random phase. */
export function hills(base: number, height: number, colour: string): Layer {
  return (random) => {
    const waves = [1.3, 2.7, 5.1].map((frequency, i) => ({ frequency, phase: random() * 7, share: 0.6 / (i + 1) }));
    const points = Array.from({ length: 61 }, (_, i) => {
      const x = (i / 60) * WIDTH;
      const rise = waves.reduce((sum, w) => sum + w.share * Math.sin((x / WIDTH) * w.frequency * 3 + w.phase), 0);
      return `${x},${round(base - rise * height)}`;
    });
    return ground(points.join(' '), colour);
  };
}

/** A jagged line: the middle of every stretch is lifted, then that of every half. */
export function peaks(base: number, height: number, colour: string, snow?: string): Layer {
  return (random) => {
    let line = [0.25, 0.9, 0.3, 0.7, 0.35].map((share) => share * (0.85 + random() * 0.3));
    for (let roughness = 0.22; roughness > 0.02; roughness /= 2) {
      line = line.flatMap((share, i) => {
        const next = line[i + 1];
        return next === undefined ? [share] : [share, (share + next) / 2 + (random() - 0.5) * roughness];
      });
    }
    const at = (share: number, i: number, factor = 1) =>
      `${round((i / (line.length - 1)) * WIDTH)},${round(base - Math.max(share, 0) * height * factor)}`;
    const mountain = ground(line.map((share, i) => at(share, i)).join(' '), colour);
    if (snow === undefined) return mountain;
    // Snow lies above a ragged edge on whatever is high enough.
    const edge = line.map((share, i) => at(Math.min(share, 0.58 + (i % 3) * 0.05), i)).reverse();
    return `${mountain}<path d="M${line.map((share, i) => at(share, i)).join(' ')} ${edge.join(' ')} Z" fill="${snow}"/>`;
  };
}

export function spruces(base: number, height: number, spacing: number, colour: string): Layer {
  return (random) =>
    times(Math.ceil(WIDTH / spacing) + 2, (i) => {
      const x = (i - 0.5 + (random() - 0.5) * 0.8) * spacing;
      const tall = height * (0.55 + random() * 0.45);
      const tiers = [0, 0.24, 0.48].map((start, tier) => {
        const half = tall * (0.11 + tier * 0.045);
        const [top, foot] = [base - tall + start * tall, base - tall + (start + 0.46) * tall];
        return `M${round(x)},${round(top)} L${round(x + half)},${round(foot)} L${round(x - half)},${round(foot)} Z`;
      });
      return `<path d="${tiers.join(' ')} M${round(x - 2)},${round(base - tall * 0.1)} h4 V${HEIGHT} h-4 Z" fill="${colour}"/>`;
    });
}

/** Draws layers that stand on the line `y`, and once more upside down below it, dimmed by the water. */
export function mirrored(y: number, layers: readonly Layer[]): Layer {
  return (random) => {
    const scene = layers.map((layer) => layer(random)).join('');
    return [
      `<clipPath id="above"><rect width="${WIDTH}" height="${y}"/></clipPath>`,
      `<g id="shore" clip-path="url(#above)">${scene}</g>`,
      `<use href="#shore" transform="translate(0 ${2 * y}) scale(1 -1)"/>`,
      gradient('deep', ['#9cc3d6', '#2f5a78']),
      `<rect y="${y}" width="${WIDTH}" height="${HEIGHT - y}" fill="url(#deep)" opacity="0.55"/>`,
    ].join('');
  };
}

export function water(y: number, near: string, far: string): Layer {
  return () =>
    `${gradient('water', [near, far])}<rect y="${y}" width="${WIDTH}" height="${HEIGHT - y}" fill="url(#water)"/>`;
}

export function ripples(y: number, colour: string, count: number): Layer {
  return (random) =>
    times(count, (i) => {
      const depth = (i + random()) / count;
      const width = 30 + depth * 120;
      const x = WIDTH / 2 + (random() - 0.5) * (120 + depth * 520) - width / 2;
      const height = round(1 + depth * 2.2);
      return `<rect x="${round(x)}" y="${round(y + depth * (HEIGHT - y))}" width="${round(width)}" height="${height}" rx="1" fill="${colour}" opacity="${round(0.5 - depth * 0.35)}"/>`;
    });
}

export function sail(x: number, y: number, scale: number, colour: string): Layer {
  return () =>
    `<g transform="translate(${x} ${y}) scale(${scale})"><path d="M-34,0 H34 L22,14 H-24 Z" fill="#3a2a3f"/>` +
    `<path d="M0,-78 V-6 H-30 C-22,-30 -10,-56 0,-78 Z" fill="${colour}"/><path d="M4,-70 V-6 H28 C24,-28 14,-52 4,-70 Z" fill="${colour}" opacity="0.8"/></g>`;
}

export function aurora(bands: number, colours: readonly string[]): Layer {
  return (random) =>
    `<filter id="soft" x="-20%" y="-20%" width="140%" height="140%"><feGaussianBlur stdDeviation="14"/></filter><g filter="url(#soft)">${times(
      bands,
      (band) => {
        const foot = (band / bands) * WIDTH + random() * 60;
        const bend = 60 + random() * 80;
        const line = `M${round(foot)},340 c${round(bend)},-90 ${round(-bend)},-180 ${round(bend * 0.9)},-330`;
        const colour = colours[band % colours.length] ?? '#fff';
        return `<path d="${line}" stroke="${colour}" stroke-width="${round(30 + random() * 50)}" fill="none" opacity="0.4"/>`;
      },
    )}</g>`;
}

export function skyline(base: number, wall: string, light: string): Layer {
  return (random) => {
    const houses: string[] = [];
    for (let x = -10; x < WIDTH; ) {
      const [width, top] = [36 + random() * 50, base + random() * 150];
      houses.push(
        `<rect x="${round(x)}" y="${round(top)}" width="${round(width + 1)}" height="${HEIGHT}" fill="${wall}"/>`,
      );
      for (let wy = top + 12; wy < HEIGHT; wy += 18) {
        for (let wx = x + 8; wx < x + width - 10; wx += 14) {
          if (random() < 0.3)
            houses.push(
              `<rect x="${round(wx)}" y="${round(wy)}" width="6" height="9" fill="${light}" opacity="0.85"/>`,
            );
        }
      }
      x += width;
    }
    return houses.join('');
  };
}

export function cabin(x: number, y: number): Layer {
  return () =>
    `<g transform="translate(${x} ${y})"><rect x="-58" y="-52" width="116" height="62" fill="#4a3430"/>` +
    '<path d="M-74,-48 L0,-104 L74,-48 Z" fill="#eef3f8"/><rect x="26" y="-104" width="14" height="34" fill="#3a2825"/>' +
    '<rect x="-40" y="-36" width="24" height="22" fill="#ffd98a"/><rect x="-10" y="-36" width="24" height="22" fill="#ffd98a"/>' +
    '<rect x="28" y="-36" width="20" height="46" fill="#2d1f1d"/></g>';
}
