/** Servers as processes of their own: started on their core, known to be ready, stopped. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from './connection.ts';
import { get } from './request.ts';

export interface ServerProcess {
  readonly pid: number;
  readonly port: number;
  stop(): Promise<void>;
}

export interface StartOptions {
  readonly name: string;
  /** Parameters of Node. */
  readonly parameters: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly port: number;
  /** Answers 200 when it is ready. */
  readonly readyPath: string;
  /** What it prints goes here. */
  readonly logFile: string;
  /** The core it is put on; `undefined` for any. */
  readonly core: number | undefined;
}

const READY_PATIENCE_MILLISECONDS = 60_000;
const STOP_PATIENCE_MILLISECONDS = 30_000;

/** @throws Error with the end of its log when it ends or does not get ready */
export async function startServer(options: StartOptions): Promise<ServerProcess> {
  const { name, parameters, cwd, env, port, readyPath, logFile, core } = options;
  const log = openSync(logFile, 'a');
  const node = [process.execPath, ...parameters];
  const [program = '', ...rest] = core === undefined ? node : ['taskset', '-c', String(core), ...node];
  const { PATH = '', HOME = '', TMPDIR } = process.env;
  const child = spawn(program, rest, {
    cwd,
    env: { PATH, HOME, ...(TMPDIR !== undefined && { TMPDIR }), ...env },
    stdio: ['ignore', log, log],
  });
  const deadline = Date.now() + READY_PATIENCE_MILLISECONDS;
  while (!(await isReady(port, readyPath))) {
    if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadline) {
      child.kill('SIGKILL');
      throw new Error(`${name} did not get ready:\n${readFileSync(logFile, 'utf8').slice(-2000)}`);
    }
    await sleep(50);
  }
  return { pid: child.pid ?? 0, port, stop: () => stop(child) };
}

async function isReady(port: number, path: string): Promise<boolean> {
  const connection = new Connection(port);
  try {
    return (await connection.ask(get(path))).status === 200;
  } catch {
    return false;
  } finally {
    connection.close();
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), STOP_PATIENCE_MILLISECONDS);
  await ended.finally(() => clearTimeout(late));
}

/** Below those that Linux gives to outgoing connections, of which the generator makes many. */
const FIRST_PORT = 8200;
const PORTS = 3000;

/** A port of the loopback interface that nobody listens on. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries += 1) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORTS);
    const probe = createServer().listen({ port, host: '127.0.0.1', exclusive: true });
    const free = await once(probe, 'listening').then(
      () => true,
      () => false,
    );
    if (!free) continue;
    probe.close();
    await once(probe, 'close');
    return port;
  }
  throw new Error('No port is free.');
}
