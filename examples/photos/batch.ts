/**
 * The batch job: a program without a user. It asks Gatehouse for a token in its own name (client credentials,
 * RFC 6749 §4.4), calls the photos API, prints how many photos it saw and what the APIs behind were told of it, and ends.
 */
import * as client from 'openid-client';
import { type ClientSettings, discoverGatehouse } from './gatehouse.ts';
import { whenStartedDirectly } from './settings.ts';
import type { Told } from './story.ts';

/** @returns how many photos the job can see, and what each API was told of the call */
export async function runBatch(
  settings: ClientSettings & { readonly photosApi: string },
): Promise<{ photos: number; told: readonly Told[] }> {
  const gatehouse = await discoverGatehouse(settings);
  const tokens = await client.clientCredentialsGrant(gatehouse, { resource: settings.photosApi, scope: 'photos.read' });

  async function read<Answer>(path: string): Promise<Answer> {
    const response = await fetch(new URL(path, settings.photosApi), {
      headers: { authorization: `Bearer ${tokens.access_token}` },
      signal: AbortSignal.timeout(10_000),
    });
    if (!response.ok) throw new Error(`the photos API answered ${response.status}`);
    return (await response.json()) as Answer;
  }

  const { photos } = await read<{ photos: unknown[] }>('/photos');
  const { told } = await read<{ told: Told[] }>('/story');
  return { photos: photos.length, told };
}

/** In one line: who called whom, and for whom. */
export function chainOf(told: readonly Told[]): string {
  const last = told.at(-1);
  if (last === undefined) return '';
  const acted = [...last.actors].reverse();
  return `${[last.origin.client, ...acted, last.name].join(' -> ')}, for ${last.sub}`;
}

await whenStartedDirectly(import.meta.url, async ({ batch }) => {
  const { photos, told } = await runBatch(batch);
  console.log(`The batch job counted ${photos} photos`);
  console.log(`What the last API was told: ${chainOf(told)}. npx gatehouse calls show ${told.at(-1)?.txn}`);
});
