/**
 * The pictures in the storage: landscapes drawn by code, so that the demo needs no files from anywhere. Nothing here is
 * about OAuth.
 *
 * Each scene is a list of layers from the far sky to the near ground. Chance comes from a seeded generator: the same name
 * always gives the same picture.
 */
import {
  aurora,
  cabin,
  disc,
  flakes,
  HEIGHT,
  hills,
  type Layer,
  mirrored,
  peaks,
  ripples,
  sail,
  seeded,
  sky,
  skyline,
  spruces,
  stars,
  WIDTH,
  water,
} from './drawing.ts';

const SCENES: Readonly<Record<string, readonly Layer[]>> = {
  'first-light': [
    sky('#2c3e6b', '#e88f6f', '#ffe0a8'),
    disc(500, 250, 46, '#fff3cf'),
    hills(300, 40, '#b9798a'),
    hills(335, 46, '#8a5f84'),
    hills(380, 40, '#5b4a76'),
    hills(425, 30, '#2f2f57'),
  ],
  'still-lake': [
    sky('#7fb6d9', '#cfe6ee', '#fdf3e1'),
    mirrored(286, [peaks(286, 190, '#6f86a6', '#f4f7fa'), peaks(286, 110, '#47617f'), spruces(286, 34, 70, '#23404a')]),
    ripples(300, '#ffffff', 26),
  ],
  'northern-lights': [
    sky('#07132b', '#0d2b45', '#1c4a55'),
    stars(110),
    aurora(7, ['#5df2b0', '#3fd0c9', '#8f7bff']),
    hills(392, 34, '#0b2230'),
    spruces(470, 120, 34, '#06121b'),
  ],
  dunes: [
    sky('#f6c27a', '#fbd9a0', '#fff1d6'),
    disc(170, 150, 54, '#fffaf0'),
    hills(300, 34, '#e8a765'),
    hills(350, 56, '#d28a4c'),
    hills(405, 44, '#b56c38'),
    hills(455, 30, '#8f4f2b'),
  ],
  harbour: [
    sky('#3b5b92', '#d98a86', '#ffd6a5'),
    disc(360, 286, 60, '#ffe9c2'),
    hills(300, 26, '#6d5f8c'),
    water(300, '#c98488', '#27406e'),
    ripples(306, '#ffe9c2', 34),
    sail(236, 352, 1.25, '#fffaf0'),
    sail(520, 322, 0.6, '#f3ddd0'),
  ],
  'city-night': [
    sky('#0b1030', '#27285c', '#5c3f78'),
    stars(60),
    disc(560, 96, 34, '#f7efd8'),
    skyline(170, '#2a2a5a', '#7d77a8'),
    skyline(270, '#151738', '#ffd27a'),
  ],
  'spruce-mist': [
    sky('#a9bcc0', '#d5dfdc', '#eef1ea'),
    spruces(300, 120, 46, '#a3b7b4'),
    spruces(360, 140, 34, '#7c9793'),
    spruces(420, 160, 24, '#4d6d69'),
    spruces(490, 200, 15, '#213f3d'),
  ],
  'green-valley': [
    sky('#8cc4e8', '#cfe8f3', '#fbf6e3'),
    disc(120, 110, 34, '#fff6d8'),
    peaks(330, 150, '#9db6c4', '#f6fafc'),
    hills(330, 40, '#9cc48b'),
    spruces(372, 70, 60, '#4f7f5d'),
    hills(390, 34, '#6fa667'),
    hills(445, 26, '#4a8150'),
  ],
  snowfall: [
    sky('#1d2b4f', '#3d5480', '#7f95b5'),
    hills(330, 40, '#54698f'),
    spruces(392, 110, 30, '#22345a'),
    hills(410, 22, '#dfe8f3'),
    cabin(430, 402),
    flakes(150),
  ],
};

/** The names the storage knows. */
export const PICTURE_NAMES: readonly string[] = Object.keys(SCENES);

/** @returns an SVG document, or undefined for a name the storage does not know */
export function drawPicture(name: string): string | undefined {
  const scene = Object.hasOwn(SCENES, name) ? SCENES[name] : undefined;
  if (scene === undefined) return undefined;
  const random = seeded(name);
  const layers = scene.map((layer) => layer(random)).join('\n');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}">\n${layers}\n</svg>\n`;
}
