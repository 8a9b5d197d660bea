/**
 * The batch job: a program without a user. It asks Gatehouse for a token in its own name (client credentials,
 * RFC 6749 §4.4), calls the photos API, prints how many photos it saw, and ends.
 */
import * as client from 'openid-client';
import { type ClientSettings, discoverGatehouse } from './gatehouse.ts';
import { whenStartedDirectly } from './settings.ts';

/** @returns how many photos the job can see */
export async function runBatch(settings: ClientSettings & { readonly photosApi: string }): Promise<{ photos: number }> {
  const gatehouse = await discoverGatehouse(settings);
  const tokens = await client.clientCredentialsGrant(gatehouse, { resource: settings.photosApi, scope: 'photos.read' });
  const response = await fetch(new URL('/photos', settings.photosApi), {
    headers: { authorization: `Bearer ${tokens.access_token}` },
    signal: AbortSignal.timeout(10_000),
  });
  if (!response.ok) throw new Error(`the photos API answered ${response.status}`);
  const { photos } = (await response.json()) as { photos: unknown[] };
  return { photos: photos.length };
}

await whenStartedDirectly(import.meta.url, async ({ batch }) => {
  const { photos } = await runBatch(batch);
  console.log(`The batch job counted ${photos} photos`);
});
