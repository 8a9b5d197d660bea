/**
 * Sector identifiers: OpenID Connect Core §8.1, Registration §5. Clients of one sector know a person under one name, so a
 * sector has to say which clients are its own: otherwise anybody could register into somebody else's and compare.
 */
import { z } from 'zod';
import type { ClientMetadata } from '../protocol/client.ts';
import { OAuthError } from '../protocol/errors.ts';
import { FetchRefused } from './guarded-fetch.ts';
import { fetchJson } from './json-document.ts';

const redirectUris = z.array(z.string());

/**
 * Fetches the document of `sector_identifier_uri`, where there is one, and looks for every redirect URI in it. Called when
 * the metadata is registered; what the document says later changes nothing.
 * @param allowLoopback tests only (GATEHOUSE_ALLOW_LOOPBACK_FETCH)
 * @throws OAuthError `invalid_client_metadata`, saying what is wrong with `sector_identifier_uri`
 */
export async function checkSectorIdentifier(metadata: ClientMetadata, allowLoopback: boolean): Promise<void> {
  const { sector_identifier_uri: uri, redirect_uris } = metadata;
  if (typeof uri !== 'string') return;
  const listed = redirectUris.safeParse(await documentAt(uri, allowLoopback));
  if (!listed.success) throw refuse('its document is not a JSON array of redirect URIs');
  const missing = redirectUris.parse(redirect_uris).find((redirectUri) => !listed.data.includes(redirectUri));
  if (missing !== undefined) throw refuse('its document does not hold all redirect_uris');
}

async function documentAt(uri: string, allowLoopback: boolean): Promise<unknown> {
  try {
    return await fetchJson(uri, 'application/json', allowLoopback);
  } catch (error) {
    if (error instanceof FetchRefused) throw refuse(`its document could not be fetched (${error.message})`);
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function refuse(why: string): OAuthError {
  return new OAuthError('invalid_client_metadata', `sector_identifier_uri: ${why}`);
}
