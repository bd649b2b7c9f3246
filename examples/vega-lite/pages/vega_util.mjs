// vega-interpreter imports vega-util, which is a part of /vega.js already.
export const { ascending, isString, DisallowedObjectProperties } = globalThis.vega;
