#!/usr/bin/env node
// The one binary. In a checkout the sources run through esbuild (tsx); in the image, which holds no sources, dist runs.
import { existsSync } from 'node:fs';

const source = new URL('../src/cli.ts', import.meta.url);
if (existsSync(source)) {
  const { register } = await import('tsx/esm/api');
  register();
  await import(source.href);
} else {
  await import('../dist/cli.js');
}
