/**
 * Resources: the APIs tokens are for (RFC 8707), their scopes in words, and which form of token each wants.
 *
 * A scope name belongs to one resource only, so a scope alone tells which API is meant; the names of OpenID Connect
 * Core §5.4 belong to the issuer itself (its userinfo endpoint). So does a type of authorization details (RFC 9396).
 */
import { z } from 'zod';
import type { MayAct } from './call.ts';
import { CLAIM_WORDS, type UserClaimName } from './claims.ts';
import { type AuthorizationDetail, type DetailsType, detailsTypes } from './details-type.ts';
import { inWords } from './details-words.ts';
import { OAuthError } from './errors.ts';
import { type SigningAlg, signingAlgs } from './jose.ts';
import type { AccessGroup } from './page.ts';
import { isLoopback, parseUrl } from './redirect-uri.ts';
import { isScopeToken } from './scope.ts';

export interface Resource {
  /** Its resource indicator: what `aud` says. */
  readonly resource: string;
  readonly name: string;
  /** Scope → what it allows, in words for the consent page. */
  readonly scopes: Readonly<Record<string, string>>;
  readonly accessTokenFormat: 'jwt' | 'opaque';
  readonly signingAlg: SigningAlg | undefined;
  /** Seconds; `undefined` takes the profile's. */
  readonly accessTokenLifetime: number | undefined;
  /** Clients that are this API: they may introspect tokens addressed to it. */
  readonly introspectionClients: readonly string[];
  /** Who alone may act with tokens for it (RFC 8693 §4.4); goes into them. */
  readonly mayAct: MayAct | undefined;
  /** Types of authorization details it understands. */
  readonly detailsTypes: readonly DetailsType[];
}

/** OpenID Connect Core §5.4, §11: scopes of the issuer, with their words. */
export const OPENID_SCOPES: Readonly<Record<string, string>> = {
  openid: 'Know who you are',
  profile: 'See your profile: your name, picture, birth date and the like',
  email: 'See your e-mail address',
  address: 'See your postal address',
  phone: 'See your phone number',
  offline_access: 'Keep this access when you are signed out',
};

export const resourceMetadata = z.strictObject({
  resource: z
    .string()
    .max(1000)
    .refine(isResourceIndicator, 'must be an absolute https URI without fragment (http on loopback)'),
  name: z.string().min(1).max(200),
  scopes: z
    .record(z.string(), z.string().min(1).max(300))
    .refine((scopes) => Object.keys(scopes).every(isScopeToken), 'a scope name has characters outside RFC 6749 §3.3')
    .refine(
      (scopes) => !Object.keys(scopes).some((name) => Object.hasOwn(OPENID_SCOPES, name)),
      'a scope name belongs to OpenID Connect',
    ),
  access_token_format: z.enum(['jwt', 'opaque']).default('jwt'),
  signing_alg: z.enum(signingAlgs).optional(),
  access_token_lifetime: z.number().int().min(10).max(3600).optional(),
  introspection_clients: z.array(z.string().min(1).max(100)).max(50).default([]),
  may_act: z.strictObject({ sub: z.string().min(1).max(255), iss: z.string().max(1000).optional() }).optional(),
  authorization_details_types: detailsTypes.optional(),
});

export type ResourceMetadata = z.infer<typeof resourceMetadata>;

export function toResource(metadata: ResourceMetadata): Resource {
  return {
    resource: metadata.resource,
    name: metadata.name,
    scopes: metadata.scopes,
    accessTokenFormat: metadata.access_token_format,
    signingAlg: metadata.signing_alg,
    accessTokenLifetime: metadata.access_token_lifetime,
    introspectionClients: metadata.introspection_clients,
    mayAct: toMayAct(metadata.may_act),
    detailsTypes: Object.entries(metadata.authorization_details_types ?? {}).map(([name, type]) => ({
      ...type,
      name,
      resource: metadata.resource,
    })),
  };
}

function toMayAct(claim: ResourceMetadata['may_act']): MayAct | undefined {
  return claim && { sub: claim.sub, ...(claim.iss !== undefined && { iss: claim.iss }) };
}

function isResourceIndicator(value: string): boolean {
  const url = parseUrl(value);
  if (!url || value.includes('#') || /[^\x21-\x7E]/.test(value)) return false;
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url));
}

/** All resources of the deployment, by indicator, by scope and by type of authorization details. */
export class Resources {
  readonly all: readonly Resource[];
  readonly #byIndicator: ReadonlyMap<string, Resource>;
  readonly #byScope: ReadonlyMap<string, Resource>;
  readonly #types: ReadonlyMap<string, DetailsType>;

  constructor(all: readonly Resource[]) {
    this.all = all;
    this.#byIndicator = new Map(all.map((resource) => [resource.resource, resource]));
    this.#byScope = new Map(
      all.flatMap((resource) => Object.keys(resource.scopes).map((scope) => [scope, resource] as const)),
    );
    this.#types = new Map(all.flatMap(({ detailsTypes }) => detailsTypes.map((type) => [type.name, type] as const)));
  }

  /** The resource a `resource` parameter names; compared exactly. */
  get(indicator: string): Resource | undefined {
    return this.#byIndicator.get(indicator);
  }

  /** The API a scope belongs to; `undefined` for the issuer's own and for unknown ones. */
  ofScope(scope: string): Resource | undefined {
    return this.#byScope.get(scope);
  }

  /** The type of authorization details that has this name, whose API it says. */
  ofType(name: string): DetailsType | undefined {
    return this.#types.get(name);
  }

  isKnownScope(scope: string): boolean {
    return Object.hasOwn(OPENID_SCOPES, scope) || this.#byScope.has(scope);
  }

  /**
   * Checks the `resource` parameters of an authorization or token request (RFC 8707 §2).
   * @param scopes that may be asked for
   * @param types of authorization details that may be asked for
   * @throws OAuthError `invalid_target` when one is unknown, or is an API of which this client may ask nothing
   */
  require(indicators: readonly string[], scopes: readonly string[], types: readonly string[]): Resource[] {
    return [...new Set(indicators)].map((indicator) => {
      const resource = this.get(indicator);
      const isOpen =
        resource !== undefined &&
        (scopes.some((scope) => Object.hasOwn(resource.scopes, scope)) ||
          resource.detailsTypes.some(({ name }) => types.includes(name)));
      if (!isOpen) {
        throw new OAuthError('invalid_target', 'A resource is unknown here or not open to this client.');
      }
      return resource;
    });
  }
}

/**
 * What scopes, claims asked for by name, and authorization details mean in words, grouped by the API they are about; the
 * issuer's own first. For consent and account pages.
 */
export function describeAccess(
  scope: readonly string[],
  claims: readonly UserClaimName[],
  resources: Resources,
  authorizationDetails: readonly AuthorizationDetail[] = [],
): AccessGroup[] {
  const own = scope.flatMap((token) => (Object.hasOwn(OPENID_SCOPES, token) ? [OPENID_SCOPES[token] ?? token] : []));
  if (claims.length > 0) own.push(`See your ${claims.map((name) => CLAIM_WORDS[name]).join(', ')}`);
  const groups: AccessGroup[] = own.length > 0 ? [{ name: 'Your profile', descriptions: own }] : [];
  for (const resource of resources.all) {
    const descriptions = scope.flatMap((token) =>
      Object.hasOwn(resource.scopes, token) ? [resource.scopes[token] ?? token] : [],
    );
    const details = authorizationDetails.flatMap((detail) => {
      const type = resource.detailsTypes.find(({ name }) => name === detail.type);
      return type ? [inWords(type.description, detail)] : [];
    });
    if (descriptions.length + details.length > 0) {
      const { host } = new URL(resource.resource);
      groups.push({ name: resource.name, host, descriptions, ...(details.length > 0 && { details }) });
    }
  }
  return groups;
}
