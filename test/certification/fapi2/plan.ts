/** One run of a FAPI 2.0 plan: a variant, and the modules that are run for it, each a test under its name. */
import { afterAll, beforeAll, describe, it } from 'vitest';
import { type Fapi, PREFIX, startFapi, type Variant } from '../../support/fapi-certification.ts';

/** Adds the modules of one subject that the variant has. */
export type Modules = (run: Run) => void;

export interface Run {
  readonly variant: Variant;
  /** @param name without the plan's prefix; words after a colon are ours */
  module(name: string, test: (op: Fapi) => Promise<void>): void;
}

export function fapi2Plan(variant: Variant, ...modules: readonly Modules[]): void {
  const { profile, authentication, constraint, openid, signed = false, jarm = false, rar, nonces } = variant;
  const words = [
    authentication,
    constraint,
    openid ? 'openid_connect' : 'plain_oauth',
    signed ? 'signed_non_repudiation' : 'unsigned',
    jarm ? 'jarm' : 'plain_response',
    ...(rar ? ['rar'] : []),
    ...(nonces ? ['nonces'] : []),
  ];
  describe(`${profile.replace('security', 'security-profile')}-final-test-plan (${words.join(', ')})`, () => {
    let op: Fapi;
    beforeAll(async () => {
      op = await startFapi(variant);
    });
    afterAll(() => op.close());
    for (const add of modules) add({ variant, module: (name, test) => it(PREFIX + name, () => test(op)) });
  });
}
