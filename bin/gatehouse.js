#!/usr/bin/env node
// The one binary. In a checkout with its development dependencies the sources run through esbuild (tsx); anywhere else,
// as in the image, what `npm run build` made of them runs.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';

const source = new URL('../src/cli.ts', import.meta.url);
const built = new URL('../dist/cli.js', import.meta.url);

function hasTsx() {
  try {
    createRequire(import.meta.url).resolve('tsx/esm/api');
    return true;
  } catch {
    return false;
  }
}

if (existsSync(source) && hasTsx()) {
  const { register } = await import('tsx/esm/api');
  register();
  await import(source.href);
} else if (existsSync(built)) {
  await import(built.href);
} else {
  console.error(
    'gatehouse: nothing to run: `npm ci` for the sources, or `npm ci && npm run build` for a compiled server.',
  );
  process.exitCode = 1;
}
