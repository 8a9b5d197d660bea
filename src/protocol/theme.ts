/**
 * The colours that go with a brand's accent: one configured colour in, a readable set for both schemes out.
 *
 * Invariant: whatever the accent, text on it and text in it keep the contrast WCAG 2.2 AA asks for.
 */

/** The accent of a brand that configured none; `views/gatehouse.css` holds the colours computed from it. */
export const DEFAULT_ACCENT = '#17594a';

/** The darkest surface of the light scheme and the lightest of the dark one, where coloured text is hardest to read. */
const LIGHT_GROUND = '#eceeed';
const DARK_GROUND = '#23282a';

/** WCAG 2.2: text needs 4.5:1 (1.4.3), the shape of a control 3:1 (1.4.11). Light text on dark looks thinner: give it 7. */
const TEXT_CONTRAST = 4.5;
const TEXT_CONTRAST_ON_DARK = 7;
const SHAPE_CONTRAST = 3;

type Rgb = readonly [number, number, number];
const WHITE: Rgb = [255, 255, 255];
const BLACK: Rgb = [0, 0, 0];

/**
 * The stylesheet served at `themeUrl`: the accent and the colours that go with it, in both schemes.
 *
 * Readable means contrast, `(L₁ + 0.05) / (L₂ + 0.05)` of the relative luminances, lighter over darker.
 * - On the accent stands white if that reads, else black. One of them always does: contrast with white times contrast
 *   with black is 1.05 / 0.05 = 21 for every colour, so the better one is at least √21 ≈ 4.58.
 * - Accent as text is darkened (light scheme) or lightened (dark scheme) in steps of 1/32, and the first shade that
 *   reads on the hardest surface of the scheme is taken. Each step moves luminance one way only and the last one is
 *   black or white, which reads there, so a shade is always found, and it is the one nearest to the brand's.
 * - The accent as a button's fill is the brand's own colour in the light scheme, where its edge is drawn in the text
 *   colour; in the dark scheme it is lightened until its shape stands out from the surface.
 * - Under the pointer a fill moves away from the colour of its text, so its text only becomes easier to read.
 *
 * @param accent `#rrggbb`
 * @returns CSS: one `:root` rule of custom properties
 * @throws TypeError for anything but `#rrggbb`: the value is printed into a stylesheet
 */
export function themeStylesheet(accent: string): string {
  const brand = parse(accent);
  const darkFill = firstShade(brand, lightened, DARK_GROUND, SHAPE_CONTRAST);
  const properties: Record<string, Rgb> = {
    accent: brand,
    'on-accent': onFill(brand),
    'accent-hover': hovered(brand),
    'accent-text': firstShade(brand, darkened, LIGHT_GROUND, TEXT_CONTRAST),
    'accent-dark': darkFill,
    'on-accent-dark': onFill(darkFill),
    'accent-dark-hover': hovered(darkFill),
    'accent-text-dark': firstShade(brand, lightened, DARK_GROUND, TEXT_CONTRAST_ON_DARK),
  };
  const declarations = Object.entries(properties).map(([name, colour]) => `--${name}:${print(colour)}`);
  return `:root{${declarations.join(';')}}`;
}

function parse(colour: string): Rgb {
  if (!/^#[0-9a-f]{6}$/i.test(colour)) throw new TypeError(`Not a colour of the form #rrggbb: ${colour}`);
  const value = Number.parseInt(colour.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

function print(colour: Rgb): string {
  return `#${colour.map((channel) => channel.toString(16).padStart(2, '0')).join('')}`;
}

/** Relative luminance, 0 to 1: the channels made linear (sRGB's own curve), weighted as the eye does. */
function luminance([red, green, blue]: Rgb): number {
  return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
}

function linear(channel: number): number {
  const value = channel / 255;
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}

function contrast(one: Rgb, other: Rgb): number {
  const [a, b] = [luminance(one) + 0.05, luminance(other) + 0.05];
  return Math.max(a, b) / Math.min(a, b);
}

/** `share` of `into` in `colour`, 0 to 1. */
function mix(colour: Rgb, into: Rgb, share: number): Rgb {
  const [red, green, blue] = colour;
  const blend = (from: number, to: number) => Math.round(from + (to - from) * share);
  return [blend(red, into[0]), blend(green, into[1]), blend(blue, into[2])];
}

function darkened(colour: Rgb, share: number): Rgb {
  return mix(colour, BLACK, share);
}

/** Turned up like a lamp until one channel is full (hue and saturation stay), and only then mixed with white. */
function lightened(colour: Rgb, share: number): Rgb {
  const brightest = Math.max(...colour);
  if (brightest === 0) return mix(BLACK, WHITE, share);
  const [red, green, blue] = colour;
  const full: Rgb = [(red * 255) / brightest, (green * 255) / brightest, (blue * 255) / brightest];
  return share < 0.5 ? mix(colour, full, share * 2) : mix(full, WHITE, share * 2 - 1);
}

function firstShade(colour: Rgb, shade: (colour: Rgb, share: number) => Rgb, ground: string, wanted: number): Rgb {
  const shares = Array.from({ length: 33 }, (_, step) => step / 32);
  const shades = shares.map((share) => shade(colour, share));
  return shades.find((candidate) => contrast(candidate, parse(ground)) >= wanted) ?? colour;
}

function onFill(fill: Rgb): Rgb {
  return contrast(fill, WHITE) >= TEXT_CONTRAST ? WHITE : BLACK;
}

function hovered(fill: Rgb): Rgb {
  return onFill(fill) === WHITE ? mix(fill, BLACK, 0.14) : mix(fill, WHITE, 0.22);
}
