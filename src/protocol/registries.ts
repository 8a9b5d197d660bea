/**
 * The registries, filled from the rooms: what a profile omits is left out, and two rooms that claim one key fail at start.
 */
import { z } from 'zod';
import { coreClientMetadata, type RegistrationRules } from './client.ts';
import type { ConfirmationMethod } from './confirmation.ts';
import type {
  ClientAuthenticationMethod,
  Endpoint,
  Feature,
  GrantType,
  LogoutChannel,
  RequestSource,
  ResponseMode,
  ResponseParameter,
  ResponseType,
} from './feature.ts';
import type { Profile } from './profile.ts';

export interface Registries {
  readonly features: readonly Feature[];
  readonly grantTypes: ReadonlyMap<string, GrantType>;
  readonly responseTypes: ReadonlyMap<string, ResponseType>;
  readonly responseModes: ReadonlyMap<string, ResponseMode>;
  readonly confirmationMethods: ReadonlyMap<string, ConfirmationMethod>;
  readonly requestSources: ReadonlyMap<string, RequestSource>;
  readonly responseParameters: ReadonlyMap<string, ResponseParameter>;
  readonly clientAuthenticationMethods: ReadonlyMap<string, ClientAuthenticationMethod>;
  readonly logoutChannels: ReadonlyMap<string, LogoutChannel>;
  readonly endpoints: readonly Endpoint[];
  readonly clientMetadata: z.ZodObject;
}

/**
 * Fills the registries from the features, leaving out what the profile omits.
 * @throws Error when two features claim the same key
 */
export function assemble(features: readonly Feature[], profile: Profile): Registries {
  const endpoints = features.flatMap((feature) => feature.endpoints ?? []);
  keyed(
    'endpoint',
    endpoints.flatMap(({ path, aliases = [] }) => [path, ...aliases].map((name) => ({ name }))),
  );
  const slices = features.flatMap(({ clientMetadata = {} }) =>
    Object.entries(clientMetadata).map(([name, type]) => ({ name, type })),
  );
  const metadata = keyed('client metadata', [
    ...Object.entries(coreClientMetadata).map(([name, type]) => ({ name, type })),
    ...slices,
  ]);
  const offered = <T extends { name: string }>(items: T[], names: readonly string[]) =>
    items.filter((item) => names.includes(item.name));
  return {
    features,
    grantTypes: keyed(
      'grant type',
      offered(
        features.flatMap((feature) => feature.grantTypes ?? []),
        profile.grantTypes,
      ),
    ),
    responseTypes: keyed(
      'response type',
      features.flatMap((feature) => feature.responseTypes ?? []),
    ),
    responseModes: keyed(
      'response mode',
      offered(
        features.flatMap((feature) => feature.responseModes ?? []),
        profile.responseModes,
      ),
    ),
    confirmationMethods: keyed(
      'confirmation method',
      features.flatMap((feature) => feature.confirmationMethods ?? []),
    ),
    requestSources: keyed(
      'request source',
      features.flatMap((feature) => feature.requestSources ?? []),
    ),
    responseParameters: keyed(
      'response parameter',
      features.flatMap((feature) => feature.responseParameters ?? []),
    ),
    logoutChannels: keyed(
      'logout channel',
      features.flatMap((feature) => feature.logoutChannels ?? []),
    ),
    clientAuthenticationMethods: keyed(
      'client authentication method',
      offered(
        features.flatMap((feature) => feature.clientAuthenticationMethods ?? []),
        profile.clientAuthenticationMethods,
      ),
    ),
    endpoints,
    clientMetadata: z.object(Object.fromEntries([...metadata].map(([name, { type }]) => [name, type]))),
  };
}

function keyed<T extends { name: string }>(registry: string, items: readonly T[]): Map<string, T> {
  const map = new Map<string, T>();
  for (const item of items) {
    if (map.has(item.name)) throw new Error(`Two features claim the ${registry} ${item.name}.`);
    map.set(item.name, item);
  }
  return map;
}

/** What a client may register here (`checkClientMetadata`). */
export function registrationRules(registries: Registries, profile: Profile): RegistrationRules {
  return {
    profile,
    grantTypes: new Set(registries.grantTypes.keys()),
    responseTypes: new Set(registries.responseTypes.keys()),
    clientAuthenticationMethods: new Set(registries.clientAuthenticationMethods.keys()),
    metadata: registries.clientMetadata,
    checks: registries.features.flatMap((feature) => feature.checkClientMetadata ?? []),
  };
}
