fn main(){println!("{}",trainyard_server::openapi().to_pretty_json().unwrap())}
