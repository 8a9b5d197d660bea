import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { withLock } from '../../src/postgres/folder-lock.ts';

let folder: string;
let lock: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gatehouse-lock-'));
  lock = join(folder, 'lock');
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

/** Twenty contenders; resolves with how many were inside at once, at most. */
async function contend(): Promise<number> {
  let inside = 0;
  let most = 0;
  const work = async () => {
    inside += 1;
    most = Math.max(most, inside);
    await delay(1);
    inside -= 1;
  };
  await Promise.all(Array.from({ length: 20 }, () => withLock(lock, 20_000, work)));
  return most;
}

async function endedPid(): Promise<number> {
  const child = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
  await once(child, 'exit');
  return child.pid ?? 0;
}

test('one at a time, and nothing is left behind', async () => {
  expect(await contend()).toBe(1);
  expect(await readdir(folder)).toEqual([]);
});

test('the lock of a process that ended is broken, by one contender only', async () => {
  await symlink(`${await endedPid()}@1`, lock);
  expect(await contend()).toBe(1);
  expect(await readdir(folder)).toEqual([]);
});

test('a dead process whose pid another process has by now is dead', async () => {
  await symlink(`${process.pid}@1`, lock);
  expect(await contend()).toBe(1);
});

test('so is one that died while it broke the lock of a dead one', async () => {
  await symlink(`${await endedPid()}@1`, lock);
  await symlink(`${await endedPid()}@2`, `${lock}.stale`);
  expect(await contend()).toBe(1);
  expect(await readdir(folder)).toEqual([]);
});

test('waiting for a living holder ends with an error that names it', async () => {
  await withLock(lock, 1_000, async () => {
    await expect(withLock(lock, 50, async () => undefined)).rejects.toThrow(`Process ${process.pid} has held ${lock}`);
  });
});

test('the lock is given back when the work fails', async () => {
  await expect(withLock(lock, 1_000, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(await readdir(folder)).toEqual([]);
});
