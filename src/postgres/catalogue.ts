/**
 * The catalogue in memory: clients, resources, exchange policies, trust domains, origins, signing keys.
 *
 *   every change, in its own transaction:  catalogue.version + 1, NOTIFY
 *   every process:  reads the version twice a second and at each NOTIFY; another version empties its caches
 *
 * NOTIFY is a hint, the version row is the truth. A process that has not confirmed the version within the last second
 * (its listener broke, the event loop was held) confirms it in the request that asks, so nothing older than a second
 * is ever served. That costs one round trip then and none otherwise; the design's "read clients in the request's own
 * query" would put a second path into every statement for the same promise.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import pg from 'pg';
import type { Catalogue } from '../protocol/catalogue.ts';
import { type Client, toClient } from '../protocol/client.ts';
import type { ExchangePolicies } from '../protocol/exchange-policy.ts';
import { type Profile, profileOf } from '../protocol/profile.ts';
import { forbidden } from '../protocol/profile-rules.ts';
import { Resources, toResource } from '../protocol/resource.ts';
import { type TrustDomain, toTrustDomain } from '../protocol/trust-domain.ts';
import { CHANNEL } from './catalogue-version.ts';
import { findClientRecord, isClientOrigin } from './clients.pg.ts';
import type { Sql } from './database.ts';
import { readExchangePolicies } from './exchange-policies.pg.ts';
import { listResources } from './resources.pg.ts';
import { listTrustDomains } from './trust-domains.pg.ts';

const CONFIRM_EVERY = 500;
const CONFIRMED_FOR = 1000;
/** Clients kept at most; the oldest go first. */
const MOST = 10_000;

export interface CatalogueOptions {
  readonly database: Sql;
  /** For LISTEN: past a pooler, which does not keep sessions. */
  readonly directUrl: string;
  /** A client whose registration it forbids is not served: the server was moved to it, or the client registered past it. */
  readonly profile: Profile;
  onError?(error: unknown): void;
  /** @param problem field and clause */
  onForbidden?(clientId: string, problem: string): void;
}

/** Anything that must be read again when the version changes. */
export class Versioned<T> {
  readonly #load: () => Promise<T>;
  #value: Promise<T> | undefined;

  constructor(load: () => Promise<T>) {
    this.#load = load;
  }

  get(): Promise<T> {
    if (!this.#value) {
      const loading = this.#load();
      this.#value = loading;
      // A failed load is nobody's answer but its own.
      loading.catch(() => {
        if (this.#value === loading) this.#value = undefined;
      });
    }
    return this.#value;
  }

  forget(): void {
    this.#value = undefined;
  }
}

export class PostgresCatalogue implements Catalogue {
  readonly #database: Sql;
  readonly #options: CatalogueOptions;
  readonly #clients = new Map<string, Promise<Client | undefined>>();
  readonly #origins = new Map<string, Promise<boolean>>();
  readonly #resources: Versioned<Resources>;
  readonly #exchangePolicies: Versioned<ExchangePolicies>;
  readonly #trustDomains: Versioned<ReadonlyMap<string, TrustDomain>>;
  readonly #dependents: Versioned<unknown>[] = [];
  #version = '';
  #confirmedAt = Number.NEGATIVE_INFINITY;
  #confirming: Promise<void> | undefined;
  #listener: pg.Client | undefined;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: CatalogueOptions) {
    this.#database = options.database;
    this.#options = options;
    this.#resources = this.versioned(async () => new Resources((await listResources(this.#database)).map(toResource)));
    this.#exchangePolicies = this.versioned(() => readExchangePolicies(this.#database));
    this.#trustDomains = this.versioned(async () => {
      const domains = (await listTrustDomains(this.#database)).map(toTrustDomain);
      return new Map(domains.map((domain) => [domain.issuer, domain]));
    });
  }

  /** A value that is forgotten whenever the catalogue changes. Read it within {@link confirmed}. */
  versioned<T>(load: () => Promise<T>): Versioned<T> {
    const value = new Versioned(load);
    this.#dependents.push(value);
    return value;
  }

  client(id: string): Promise<Client | undefined> {
    return this.confirmed(() => remembered(this.#clients, id, () => this.#readClient(id)));
  }

  async #readClient(id: string): Promise<Client | undefined> {
    const record = await findClientRecord(this.#database, id);
    return record && this.#underProfile(toClient(record));
  }

  #underProfile(client: Client): Client {
    const problem = forbidden(client.metadata, profileOf(client, this.#options.profile));
    if (!problem) return client;
    this.#options.onForbidden?.(client.id, `${problem.field}: ${problem.why}`);
    return { ...client, disabled: true };
  }

  resources(): Promise<Resources> {
    return this.confirmed(() => this.#resources.get());
  }

  exchangePolicies(): Promise<ExchangePolicies> {
    return this.confirmed(() => this.#exchangePolicies.get());
  }

  trustDomains(): Promise<ReadonlyMap<string, TrustDomain>> {
    return this.confirmed(() => this.#trustDomains.get());
  }

  isClientOrigin(origin: string): Promise<boolean> {
    return this.confirmed(() => remembered(this.#origins, origin, () => isClientOrigin(this.#database, origin)));
  }

  /**
   * What `read` gives once the version is known to be not older than a second. As a rule it is, and the promise that is kept is the
   * answer: a request asks several times, and turns of the event loop's queue add up.
   */
  confirmed<T>(read: () => Promise<T>): Promise<T> {
    return performance.now() - this.#confirmedAt < CONFIRMED_FOR ? read() : this.#confirm().then(read);
  }

  /** Reads the version; one read at a time. */
  #confirm(): Promise<void> {
    this.#confirming ??= this.#read().finally(() => {
      this.#confirming = undefined;
    });
    return this.#confirming;
  }

  async #read(): Promise<void> {
    const asked = performance.now();
    const { rows } = await sql<{ version: string }>`SELECT version::text FROM catalogue`.execute(this.#database);
    const version = rows[0]?.version ?? '';
    if (version !== this.#version) {
      this.#clients.clear();
      this.#origins.clear();
      for (const dependent of this.#dependents) dependent.forget();
      this.#version = version;
    }
    this.#confirmedAt = asked;
  }

  /** Begins to follow changes; ends with {@link stop}. */
  start(): void {
    this.#running = this.#follow();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    // First the loop: a connection that is ended while it is being made answers neither.
    await this.#running;
    await this.#listener?.end().catch(() => undefined);
  }

  async #follow(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      try {
        await this.#listen();
        await this.#confirm();
      } catch (error) {
        if (!this.#stopping.signal.aborted) this.#options.onError?.(error);
      }
      await sleep(CONFIRM_EVERY, undefined, { ref: false, signal: this.#stopping.signal }).catch(() => undefined);
    }
  }

  async #listen(): Promise<void> {
    if (this.#listener || this.#stopping.signal.aborted) return;
    const listener = new pg.Client({
      connectionString: this.#options.directUrl,
      application_name: 'gatehouse listener',
      connectionTimeoutMillis: 3000,
      query_timeout: 3000,
    });
    const lost = () => {
      if (this.#listener === listener) this.#listener = undefined;
      listener.end().catch(() => undefined);
    };
    listener.on('error', lost);
    listener.on('end', lost);
    // The confirmation that a hint asks for may fail with the database; the next round tells.
    listener.on('notification', () => this.#confirm().catch(() => undefined));
    try {
      await listener.connect();
      await listener.query(`LISTEN ${CHANNEL}`);
      this.#listener = listener;
    } catch (error) {
      lost();
      throw error;
    }
  }
}

function remembered<T>(cache: Map<string, Promise<T>>, key: string, load: () => Promise<T>): Promise<T> {
  const known = cache.get(key);
  if (known) return known;
  const loading = load();
  cache.set(key, loading);
  loading.then(
    // Unknown ids are not kept: whoever invents them could fill the memory, and the next moment they may exist.
    (value) => value === undefined && cache.delete(key),
    () => cache.delete(key),
  );
  if (cache.size > MOST) {
    const [oldest] = cache.keys();
    if (oldest !== undefined) cache.delete(oldest);
  }
  return loading;
}
