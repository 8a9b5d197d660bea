/** Whether tokens still work, asked everywhere they could. */
import type { World } from './world.ts';
import { introspect, refresh } from './world.ts';

export interface Issued {
  readonly access_token: string;
  readonly refresh_token: string;
  readonly id_token: string;
}

/** What an access token is worth at introspection and at userinfo, as one word each. */
export async function worth(world: World, accessToken: string, as = world.photosApi): Promise<[string, string]> {
  const told = await introspect(world, accessToken, as);
  const userinfo = await fetch(`${world.issuer}/userinfo`, { headers: { authorization: `Bearer ${accessToken}` } });
  await userinfo.text();
  // Inactive must be said in exactly these words, or the answer tells more than it should.
  const active = JSON.stringify(told) === '{"active":false}' ? 'inactive' : told.active === true ? 'active' : 'odd';
  return [active, `userinfo ${userinfo.status}`];
}

export const ALIVE = ['active', 'userinfo 200'];
export const DEAD = ['inactive', 'userinfo 401'];

/** What a refresh token gives: 200, or the error. */
export async function refreshed(world: World, refreshToken: string, client: 'web' | 'spa' = 'web'): Promise<unknown> {
  const { status, json } = await refresh(world, refreshToken, client);
  return status === 200 ? 200 : json.error;
}
