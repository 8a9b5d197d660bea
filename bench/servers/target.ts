/** A server under test, as workloads see it. */
import type { Script } from '../harness/load.ts';
import type { ServerProcess } from '../harness/processes.ts';
import { type BasicCredentials, basic, type Fields, get, type Headers, post, postForm } from '../harness/request.ts';
import type { Cast } from './cast.ts';

export type ServerKind = 'gatehouse' | 'oidc-provider' | 'ceiling';

export interface Target {
  /** Its column in the report. */
  readonly name: string;
  readonly kind: ServerKind;
  readonly process: ServerProcess;
  /** More nodes of the same: connections go to all in turn. */
  readonly nodes?: readonly ServerProcess[];
  /** How many processes serve: each gets as many connections as a lone one does. */
  readonly serving?: number;
  readonly databaseUrl: string;
}

/** What workloads are prepared with. */
export interface Setting {
  readonly cast: Cast;
  readonly connections: number;
  /** How many distinct tokens are cycled through. */
  readonly tokens: number;
}

export interface Workload {
  readonly name: string;
  /** What one iteration is. */
  readonly about: string;
  /** The work that no server can do without: what the ceiling does. */
  readonly ceiling: string;
  readonly servers: readonly ServerKind[];
  /** Milliseconds that p99 is to stay below, where that is the point of it. */
  readonly p99Target?: number;
  /** How many times as long as asked for it is measured, because its iterations take so long that there are few of them. */
  readonly stretch?: number;
  /**
   * Makes what an iteration needs (sessions, tokens) at a server.
   * @returns the script of each connection
   */
  prepare(target: Target, setting: Setting): Promise<(connection: number) => Script>;
}

/** Requests of one workload to one server. Paths are the same at all; the ceiling has those of each workload in a place of its own. */
export interface Requests {
  get(path: string, headers?: Headers): Buffer;
  post(path: string, fields: Fields, as?: BasicCredentials): Buffer;
  /** For forms that change from request to request. */
  form(path: string, headers?: Headers): (body: string) => Buffer;
}

export function requestsTo({ kind }: Target, workload: string): Requests {
  const prefix = kind === 'ceiling' ? `/${workload}` : '';
  return {
    get: (path, headers) => get(prefix + path, headers),
    post: (path, fields, as) => post(prefix + path, fields, as && basic(as)),
    form: (path, headers) => postForm(prefix + path, headers),
  };
}

/** A script of one request that is made anew, or taken from a list, each time. */
export function oneRequest(next: () => Buffer, status: number, marker: string): Script {
  return {
    begin: next,
    answered: (answer) => (answer.status === status && answer.body.includes(marker) ? 'done' : 'failed'),
  };
}

/** Goes round a list; connections begin at different places of it. */
export function cycle<Item>(items: readonly Item[], connection: number, connections: number): () => Item {
  let next = Math.floor((items.length * connection) / connections);
  return () => {
    const item = items[next % items.length];
    next += 1;
    if (item === undefined) throw new Error('An empty list has no next item.');
    return item;
  };
}
