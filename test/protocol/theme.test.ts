import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DEFAULT_ACCENT, themeStylesheet } from '../../src/protocol/page.ts';

const css = readFileSync(new URL('../../views/gatehouse.css', import.meta.url), 'utf8');
const SURFACES = ['page', 'canvas', 'surface', 'sunken', 'field'];
const light = properties(/^:root \{([^}]*)\}/m);
const dark = properties(/prefers-color-scheme: dark\) \{\s*:root \{([^}]*)\}/);
const accents = fc.integer({ min: 0, max: 0xffffff }).map((value) => `#${value.toString(16).padStart(6, '0')}`);

describe('themeStylesheet', () => {
  test('text on the accent is readable, under the pointer too', () => {
    forEveryAccent((theme) => {
      for (const [fill, text] of [
        ['accent', 'on-accent'],
        ['accent-hover', 'on-accent'],
        ['accent-dark', 'on-accent-dark'],
        ['accent-dark-hover', 'on-accent-dark'],
      ]) {
        expect(contrast(theme(fill), theme(text))).toBeGreaterThanOrEqual(4.5);
      }
    });
  });

  test('text in the accent is readable on every surface of gatehouse.css', () => {
    forEveryAccent((theme) => {
      for (const surface of SURFACES) {
        expect(contrast(theme('accent-text'), light(surface))).toBeGreaterThanOrEqual(4.5);
        expect(contrast(theme('accent-text-dark'), dark(surface))).toBeGreaterThanOrEqual(7);
      }
    });
  });

  test('the shape of a dark button stands out from every surface', () => {
    forEveryAccent((theme) => {
      for (const surface of SURFACES) {
        expect(contrast(theme('accent-dark'), dark(surface))).toBeGreaterThanOrEqual(3);
      }
    });
  });

  test('a brand keeps its own colour where that is readable', () => {
    forEveryAccent((theme, accent) => {
      expect(theme('accent')).toBe(accent);
      if (contrast(accent, '#eceeed') >= 4.5) expect(theme('accent-text')).toBe(accent);
      if (contrast(accent, '#23282a') >= 7) expect(theme('accent-text-dark')).toBe(accent);
    });
  });

  test('gatehouse.css carries the colours of the default accent', () => {
    const theme = parse(themeStylesheet(DEFAULT_ACCENT));
    for (const [name, value] of theme) expect(light(name), name).toBe(value);
  });

  test('anything but #rrggbb is refused: the value is printed into a stylesheet', () => {
    for (const wrong of ['red', '#fff', '#12345g', '#1234567', ' #123456', '#123456\n', '#123456;}*{display:none']) {
      expect(() => themeStylesheet(wrong)).toThrow(TypeError);
    }
    fc.assert(
      fc.property(fc.string(), (text) => {
        fc.pre(!/^#[0-9a-f]{6}$/i.test(text));
        expect(() => themeStylesheet(text)).toThrow(TypeError);
      }),
    );
  });
});

function forEveryAccent(check: (theme: (name: string | undefined) => string, accent: string) => void): void {
  fc.assert(
    fc.property(accents, (accent) => {
      const theme = parse(themeStylesheet(accent));
      check((name) => theme.get(name ?? '') ?? `no --${name}`, accent);
    }),
    { numRuns: 500, examples: ['#000000', '#ffffff', '#ffff00', '#0000ff', '#ff0000', '#808080'].map((a) => [a]) },
  );
}

function parse(block: string): Map<string, string> {
  return new Map(
    [...block.matchAll(/--([a-z-]+):\s*(#[0-9a-f]{6})/g)].map(([, name = '', value = '']) => [name, value]),
  );
}

function properties(block: RegExp): (name: string) => string {
  const found = parse(css.match(block)?.[1] ?? '');
  return (name) => found.get(name) ?? `no --${name}`;
}

/** WCAG 2.2's definition, written a second time so that the first is not its own judge. */
function contrast(one: string, other: string): number {
  const [brighter = 0, darker = 0] = [one, other].map(relativeLuminance).sort((a, b) => b - a);
  return (brighter + 0.05) / (darker + 0.05);
}

function relativeLuminance(colour: string): number {
  expect(colour).toMatch(/^#[0-9a-f]{6}$/);
  const weights = [0.2126, 0.7152, 0.0722];
  return weights.reduce((sum, weight, index) => {
    const value = Number.parseInt(colour.slice(1 + index * 2, 3 + index * 2), 16) / 255;
    return sum + weight * (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  }, 0);
}
