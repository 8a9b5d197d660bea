/**
 * What changes seldom and is read by every request: clients, resources, exchange policies and trust domains. The implementation caches them and never
 * serves what it has not confirmed within the last second (src/postgres/catalogue.ts).
 */
import type { Client } from './client.ts';
import type { ExchangePolicies } from './exchange-policy.ts';
import type { Resources } from './resource.ts';
import type { TrustDomain } from './trust-domain.ts';

export interface Catalogue {
  /** Also returns disabled clients; `findClient` is what endpoints call. */
  client(id: string): Promise<Client | undefined>;
  resources(): Promise<Resources>;
  exchangePolicies(): Promise<ExchangePolicies>;
  /** By issuer. */
  trustDomains(): Promise<ReadonlyMap<string, TrustDomain>>;
  /** Whether any client names this origin (a CORS preflight does not say for which client it asks). */
  isClientOrigin(origin: string): Promise<boolean>;
}
