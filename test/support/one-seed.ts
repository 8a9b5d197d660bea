/** Property tests of one run share a seed: one that fails fails again when it is tried once more. The reporter tells it. */
import fc from 'fast-check';

const { FC_SEED } = process.env;
if (FC_SEED !== undefined) fc.configureGlobal({ seed: Number(FC_SEED) });
