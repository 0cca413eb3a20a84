from framegate.adapters.cli import main

main()
