/** The API's description of itself, RFC 9728: whose tokens it takes, for what, and bound to what. */
import { wellKnownUrl } from './authorization-server.ts';
import type { Settings } from './options.ts';

/** What the API may say beyond what its options say already, RFC 9728 §2. */
export interface ResourceMetadata {
  readonly resource_name?: string;
  readonly resource_documentation?: string;
  readonly resource_policy_uri?: string;
  readonly resource_tos_uri?: string;
  readonly scopes_supported?: readonly string[];
  readonly authorization_details_types_supported?: readonly string[];
}

/** @returns the RFC 9728 document, to be served as JSON */
export function protectedResourceMetadata(settings: Settings): Record<string, unknown> {
  const { issuer, resource, bindings, dpop, metadata } = settings;
  return {
    resource,
    authorization_servers: [issuer],
    bearer_methods_supported: ['header'],
    ...(bindings.includes('dpop') ? { dpop_signing_alg_values_supported: dpop.algorithms } : {}),
    ...(bindings.every((binding) => binding === 'dpop') ? { dpop_bound_access_tokens_required: true } : {}),
    ...(bindings.includes('mtls') ? { tls_client_certificate_bound_access_tokens: true } : {}),
    ...metadata,
  };
}

/**
 * Where the RFC 9728 document of a resource is.
 *
 * @throws TypeError when the identifier is no URL that could have one
 */
export function protectedResourceMetadataUrl(resource: string): URL {
  // The characters are those that need no escaping inside a challenge's quotes.
  if (!/^https?:\/\/[\x21\x24-\x3e\x40-\x5b\x5d-\x7e]+$/.test(resource) || !URL.canParse(resource)) {
    throw new TypeError('resource must be an http(s) URL without query and fragment');
  }
  return wellKnownUrl(resource, 'oauth-protected-resource');
}
