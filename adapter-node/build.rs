//! Tells the linker that Node.js has the functions that are missing.

fn main() {
    napi_build::setup();
}
